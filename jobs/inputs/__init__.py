"""What a job reads: models, data files and the hub."""
