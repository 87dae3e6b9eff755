"""Worker processes: claim shards, compute them with the engine, store the results."""
