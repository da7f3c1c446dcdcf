"""Does the map predict how changes of the sample change the output?"""
