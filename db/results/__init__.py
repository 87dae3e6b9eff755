"""Results: written by workers, merged when a job ends."""
