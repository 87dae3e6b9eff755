"""Statistics over examples and heads, mergeable over shards. NumPy alone, for torch-free images."""
