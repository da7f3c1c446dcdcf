"""Records of cells on disk. No torch."""
