"""Submitting and controlling jobs and studies, for pages, API and command line."""
