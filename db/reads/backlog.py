"""The backlog of each queue and user: what runs now, and what waits for a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from db.database import Database
from db.transaction import Transaction

BACKLOG = """
SELECT j.queue, j.user_name AS "user",
    SUM(CASE WHEN s.state = 'leased' THEN 1 ELSE 0 END) AS leased,
    SUM(CASE WHEN s.state = 'ready' THEN 1 ELSE 0 END) AS ready,
    SUM(CASE WHEN s.state = 'ready' THEN s.hi - s.lo ELSE 0 END) AS waiting,
    {clock} - MIN(CASE WHEN s.state = 'ready' AND s.available_at <= {clock}
        THEN CASE WHEN s.available_at > j.started_at THEN s.available_at ELSE j.started_at END
        END) AS oldest
FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'leased' OR (s.state = 'ready' AND j.state = 'running' AND j.control = 'run')
GROUP BY j.queue, j.user_name ORDER BY j.queue, j.user_name
"""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The shards of a user in a queue; those of paused jobs wait for no worker."""

    queue: str
    user: str
    leased: int
    """Shards that run."""
    ready: int
    """Shards that wait."""
    waiting: int
    """Examples of those."""
    oldest: float | None
    """Seconds that the oldest of them has waited; None if none does."""


def read_backlog(database: Database | Transaction) -> list[Backlog]:
    """Read the backlog of every queue and user with shards that run or wait."""
    numbers = ("leased", "ready", "waiting")
    return [
        Backlog(**{**row, **{name: int(row[name]) for name in numbers}})
        for row in database.rows(BACKLOG)
    ]


def by_queue(found: list[Backlog]) -> dict[str, Backlog]:
    """Add the backlogs of all users up, by queue."""
    return _added(found, lambda one: one.queue)


def by_user(found: list[Backlog]) -> dict[str, Backlog]:
    """Add the backlogs of all queues up, by user."""
    return _added(found, lambda one: one.user)


def _added(found: list[Backlog], key: Callable[[Backlog], str]) -> dict[str, Backlog]:
    sums: dict[str, Backlog] = {}
    for one in found:
        so_far = sums.get(key(one))
        if so_far is not None:
            waits = [wait for wait in (so_far.oldest, one.oldest) if wait is not None]
            one = replace(
                one,
                leased=so_far.leased + one.leased,
                ready=so_far.ready + one.ready,
                waiting=so_far.waiting + one.waiting,
                oldest=max(waits, default=None),
            )
        sums[key(one)] = one
    return sums
