"""Does the map predict what changes of the sample do to the output?"""
