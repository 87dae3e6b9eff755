"""Functions that compute a block of a shard, one module per kind of job."""
