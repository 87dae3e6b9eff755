"""The times that earlier jobs took, to estimate a new one."""

from __future__ import annotations

import json
from collections.abc import Collection

from db.database import Database
from jobs.scheduling.estimates import PastJob

MOST_JOBS = 100
"""Jobs that are looked at; the newest."""
PAST = """
SELECT j.spec, j.characters, SUM(a.seconds) AS seconds,
    SUM(a.finished_at - a.started_at) AS held, COUNT(DISTINCT a.worker) AS workers,
    SUM(a.examples) * j.cost AS units
FROM (SELECT id, spec, characters, cost FROM job
      WHERE kind = :kind AND layers = :layers AND heads = :heads AND finished_at IS NOT NULL
      ORDER BY id DESC LIMIT :limit) j
JOIN attempt a ON a.job_id = j.id
WHERE a.outcome = 'done' AND a.seconds > 0 AND a.examples > 0
GROUP BY j.id, j.spec, j.characters, j.cost
"""


def list_past(
    database: Database, kind: str, layers: int, heads: int, costly: Collection[str]
) -> list[PastJob]:
    """List what the newest jobs of a kind that have ended took with models of this shape.

    costly: fields of the specification that decide what a unit of cost takes
    """
    rows = database.rows(PAST, kind=kind, layers=layers, heads=heads, limit=MOST_JOBS)
    return [
        PastJob(
            unit_seconds=float(row["seconds"]) / float(row["units"]),
            start_seconds=max(0.0, float(row["held"]) - float(row["seconds"])) / row["workers"],
            characters=row["characters"],
            settings=chosen(json.loads(row["spec"]), costly),
        )
        for row in rows
    ]


def chosen(spec: dict[str, object], costly: Collection[str]) -> dict[str, object]:
    """The values of some fields of a specification."""
    return {name: spec.get(name) for name in costly}
