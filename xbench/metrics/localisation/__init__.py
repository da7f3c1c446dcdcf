"""Does the map highlight the known evidence?"""
