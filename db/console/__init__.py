"""The SQL console: untrusted queries on the published views."""
