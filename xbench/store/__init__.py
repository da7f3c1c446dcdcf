"""Stores records of cells on disk. No torch."""
