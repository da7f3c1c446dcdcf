"""Backward rules: change how gradients pass through operations by overriding functions, not models."""
