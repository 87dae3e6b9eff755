"""Stores that commands work on: this machine's database, or a server after a login."""
