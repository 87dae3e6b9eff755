"""Pages of results: heads, examples, rankings, and jobs compared."""
