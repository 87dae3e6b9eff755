"""The queue: new jobs, claims, leases and the state machine."""
