"""Does the map keep an axiom?"""
