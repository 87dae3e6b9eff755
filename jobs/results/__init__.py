"""Results of shards: the values of every kind, and how those of an example are packed."""
