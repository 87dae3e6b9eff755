"""Parts of reports: what one says of the jobs of a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.database import Database
from db.reads.jobs import Job
from jobs.formatting import MISSING, number

Ends = tuple[float | None, float | None, float | None]
"""A value and both ends of its interval."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report."""

    title: str
    note: str
    """The way to read it."""
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """Leading columns that hold words; the others hold numbers."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The words and tables about jobs of one kind."""

    question: str
    """The question that such a job answers."""
    method: Callable[[Job], Sequence[str]]
    """Paragraphs on what a job computed, from its specification."""
    tables: Callable[[Database, Job], Sequence[Table]]
    """The tables of a job that has succeeded."""


def with_interval(ends: Ends, shown: Callable[[float | None], str] = number) -> str:
    """A value with its interval: `0.046 (0.044 to 0.048)`."""
    value, low, high = ends
    if value is None:
        return MISSING
    return shown(value) if low is None else f"{shown(value)} ({shown(low)} to {shown(high)})"
