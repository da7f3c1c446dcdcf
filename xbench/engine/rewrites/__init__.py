"""Faster forms of a model with the same numbers, and the trial that decides about each."""
