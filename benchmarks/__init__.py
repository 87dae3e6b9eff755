"""`make bench`: the cost of Headwise against a plain implementation measured in the same run."""
