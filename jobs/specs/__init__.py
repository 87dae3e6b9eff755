"""Specifications and submissions of jobs, and their validation."""
