"""Backward rules: how gradients pass through operations, changed by overriding functions, not models."""
