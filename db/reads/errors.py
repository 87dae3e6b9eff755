"""Errors of some hours, grouped by message: of attempts, of jobs that failed, and of examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from db.database import Database

MOST_ROWS = 2_000
"""Most messages, by job and worker, that are read of each source; the newest."""

ATTEMPTS = """
SELECT job_id, worker, error, COUNT(*) AS n, MIN(finished_at) AS first, MAX(finished_at) AS last,
    MAX(shard_no) AS shard
FROM attempt
WHERE finished_at >= :since AND error IS NOT NULL
  AND (outcome IN ('error', 'lost') OR outcome = 'done' AND error NOT LIKE 'handed back:%')
GROUP BY job_id, worker, error ORDER BY last DESC LIMIT :limit
"""
"""Attempts that raised an error, also after some blocks, or lost their lease."""
JOBS = """
SELECT id AS job_id, NULL AS worker, error, 1 AS n, finished_at AS first, finished_at AS last,
    NULL AS shard
FROM job WHERE state = 'failed' AND finished_at >= :since AND error IS NOT NULL
ORDER BY finished_at DESC LIMIT :limit
"""
EXAMPLES = """
SELECT a.job_id, a.worker, r.error, COUNT(*) AS n, MIN(a.finished_at) AS first,
    MAX(a.finished_at) AS last, MAX(a.shard_no) AS shard
FROM attempt a
JOIN shard s ON s.job_id = a.job_id AND s.shard_no = a.shard_no AND s.fence = a.fence
JOIN job j ON j.id = a.job_id AND j.state <> 'deleting' AND j.purged_at IS NULL
JOIN example_result r ON r.job_id = s.job_id AND r.example_no >= s.lo AND r.example_no < s.hi
WHERE a.finished_at >= :since AND a.outcome = 'done' AND s.examples_failed > 0
  AND r.error IS NOT NULL
GROUP BY a.job_id, a.worker, r.error ORDER BY last DESC LIMIT :limit
"""


class Source(StrEnum):
    """The thing that an error ended."""

    ATTEMPT = "attempt"
    JOB = "job"
    EXAMPLE = "example"


_QUERIES = {Source.ATTEMPT: ATTEMPTS, Source.JOB: JOBS, Source.EXAMPLE: EXAMPLES}


@dataclass(kw_only=True)
class ErrorGroup:
    """Errors with the same message, apart from numbers, paths and names."""

    source: Source
    message: str
    """The newest one, as it was."""
    count: int = 0
    first: float
    last: float
    job: int
    """The job of the newest one."""
    shard: int | None
    """Its shard; None for a whole job."""
    jobs: list[int] = field(default_factory=list)
    """Newest first."""
    workers: list[str] = field(default_factory=list)

    def add(self, row: Mapping[Any, Any]) -> None:
        """Add errors that are older than those before."""
        self.count += int(row["n"])
        self.first = min(self.first, row["first"])
        for known, value in ((self.jobs, row["job_id"]), (self.workers, row["worker"])):
            if value is not None and value not in known:
                known.append(value)


def read_errors(database: Database, since: float) -> list[ErrorGroup]:
    """Read the errors since a time, those that occurred most first."""
    found: list[ErrorGroup] = []
    for source, query in _QUERIES.items():
        found += _groups(source, database.rows(query, since=since, limit=MOST_ROWS))
    return sorted(found, key=lambda group: (-group.count, -group.last))


def _groups(source: Source, rows: Iterable[Mapping[Any, Any]]) -> Iterable[ErrorGroup]:
    """Group rows, which are sorted by time, newest first."""
    groups: dict[str, ErrorGroup] = {}
    for row in rows:
        group = groups.setdefault(
            pattern(row["error"]),
            ErrorGroup(
                source=source,
                message=row["error"],
                first=row["first"],
                last=row["last"],
                job=row["job_id"],
                shard=row["shard"],
            ),
        )
        group.add(row)
    return groups.values()


_VARYING = (
    (re.compile(r"(?<![\w/.])(?:~|\.{1,2})?(?:/[^\s/'\",:;()]+)+/?"), "PATH"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "N"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b"), "N"),
    # Names of processes and hosts: gpu-3-4121-a1b2c3.
    (re.compile(r"\b(?=[\w.]*-)(?=[\w.-]*\d)[\w.]+(?:-[\w.]+)+"), "NAME"),
    (re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"), "N"),
)


def pattern(message: str) -> str:
    """Return what messages of the same error have in common: no numbers, paths and names."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    # A traceback ends with the error.
    line = lines[-1] if message.startswith("Traceback") and lines else " ".join(lines)
    for varying, word in _VARYING:
        line = varying.sub(word, line)
    return line[:300]
