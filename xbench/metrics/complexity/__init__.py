"""Is the map simple?"""
