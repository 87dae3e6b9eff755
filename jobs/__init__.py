"""What a job is: settings, specs, states, planning, outcomes and merging. No torch, no SQL."""
