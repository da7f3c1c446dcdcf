"""Stored cells to tables: outcomes, comparison, statistics, text, LaTeX. No torch."""
