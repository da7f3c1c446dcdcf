"""Computes cells: planning, execution in this process or in others, progress."""
