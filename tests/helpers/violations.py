"""Answers that tests of this process provoked and the API's document does not describe."""

from __future__ import annotations

violations: list[str] = []
"""By `contract`, which imports the dashboard: few tests need that."""
