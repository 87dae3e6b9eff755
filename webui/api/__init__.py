"""The JSON API, a module for each resource; docs/howto/api.md describes it for its users."""
