"""Telling people that jobs have ended, and operators what they want to know."""
