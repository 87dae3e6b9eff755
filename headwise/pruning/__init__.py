"""Models without some of their heads: importance, masks, curves and smaller models."""
