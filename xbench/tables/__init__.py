"""Builds tables from stored cells: outcomes, comparison, statistics, text, LaTeX. No torch."""
