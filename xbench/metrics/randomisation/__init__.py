"""Does the map change with the weights and with the target?"""
