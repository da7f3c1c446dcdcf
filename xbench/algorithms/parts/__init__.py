"""Pieces that several algorithms share: quadrature, masks, noise, positions, surrogate fits."""
