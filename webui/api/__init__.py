"""The JSON API, a module for each resource; docs/api.md describes it for its users."""
