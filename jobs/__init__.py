"""Jobs: settings, specifications, states, planning, outcomes and merging. No torch, no SQL."""
