"""Parts shared by several algorithms: quadrature, masks, noise, positions, surrogate fits."""
