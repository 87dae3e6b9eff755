"""Pages of jobs: their list, one job, the form of a new one, and what recurs."""
