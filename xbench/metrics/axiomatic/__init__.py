"""Does the map satisfy an axiom?"""
