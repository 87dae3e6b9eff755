"""The SQL console: queries of strangers on the published views."""
