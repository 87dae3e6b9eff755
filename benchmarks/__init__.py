"""`make bench`: what Headwise costs, against a plain implementation in the same run."""
