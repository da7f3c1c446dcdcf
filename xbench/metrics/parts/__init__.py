"""Pieces that several metrics share: perturbations."""
