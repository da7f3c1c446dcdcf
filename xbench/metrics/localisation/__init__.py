"""Does the map lie where the evidence is known to lie?"""
