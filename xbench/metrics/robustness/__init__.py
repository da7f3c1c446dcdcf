"""Is the map stable under small changes of the sample?"""
