"""Inputs of a job: models, data files and the hub."""
