"""Self-attention attribution: the integral of the gradient along the path, head by head."""
