"""Faster forms of a model that give the same numbers, and the trial that decides about each."""
