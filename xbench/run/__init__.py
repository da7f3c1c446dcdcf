"""Cells to results: planning, computing in this process or in others, progress."""
