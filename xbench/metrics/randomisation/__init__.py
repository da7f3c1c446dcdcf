"""Does the map change when weights or the target do?"""
