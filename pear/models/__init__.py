"""Networks assembled from the equivariant core, their settings and their checkpoints."""
