"""Pieces that several algorithms share: quadrature, masking."""
