"""Figures on the dashboard and in its API: what a page shows, and files drawn by a process."""
