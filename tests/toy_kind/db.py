"""Rows of toy jobs: nothing but the ranking, which every kind may have."""

from __future__ import annotations

from db.kinds.base import Kind
from db.results import rankings

KIND = Kind(finish=rankings.finish)
