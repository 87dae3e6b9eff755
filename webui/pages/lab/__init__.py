"""Pages of the text lab."""
