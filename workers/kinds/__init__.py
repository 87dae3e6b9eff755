"""What computes a block of a shard, one module for each kind of job."""
