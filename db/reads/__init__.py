"""Queries of pages, the API and the command line."""
