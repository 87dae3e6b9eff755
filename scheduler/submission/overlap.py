"""The examples of a job that others, whose rankings it uses, were computed on."""

from __future__ import annotations

from collections.abc import Sequence

from db.database import Database
from db.queue.examples import text_hashes
from jobs.inputs.data.examples import open_rows
from jobs.inputs.data.rows import Summary
from jobs.settings import Settings
from jobs.specs.base import DataSpec

MOST_KNOWN = 64
_known: dict[tuple[object, ...], int] = {}
"""The latest counts: a form is checked at each pause in typing."""


def count_overlap(
    data: DataSpec, summary: Summary, jobs: Sequence[int], settings: Settings, database: Database
) -> int:
    """Count the examples of a file that are also those of the jobs.

    The file is read again only for other examples or other jobs. Raises the errors of `open_rows`.
    """
    key = (summary.fingerprint, tuple(jobs), database.url)
    if key not in _known:
        with database.read() as tx:
            used = text_hashes(tx, jobs)
        with open_rows(data, settings) as rows:
            found = sum(row.text_hash in used for row in rows.rows)
        while len(_known) >= MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        _known[key] = found
    return _known[key]
