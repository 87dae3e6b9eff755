"""Pages of the SQL console."""
