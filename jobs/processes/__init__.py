"""Processes of any kind: logs, traces, limits, the watchdog, and reports on themselves."""
