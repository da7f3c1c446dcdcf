"""Does the map stay when the sample hardly moves?"""
