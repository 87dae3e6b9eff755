"""Invariants of the processes: an idle worker takes work that is ready, a scheduler finishes its
rounds, and neither ends by itself.

Both are judged by what the database records. Time counts only as far as it was looked at: where
the machine is so busy that this process itself stands still, or the database does not answer, no
worker is to blame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.arena import Arena

LIMIT = 30.0
"""Seconds within which an idle worker takes a ready shard, and a scheduler finishes a round."""
EVERY = 0.5

CLAIMABLE = """
SELECT COUNT(*) FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'ready' AND s.available_at <= {clock} AND j.state = 'running' AND j.control = 'run'
"""
ATTEMPTS = """
SELECT w.pid, COUNT(a.fence), COUNT(a.fence) - COUNT(a.outcome) FROM worker w
LEFT JOIN attempt a ON a.worker = w.name GROUP BY w.pid
"""
"""By the number of a computing process: its attempts, and how many of them go on."""
ROUNDS = "SELECT pid, MAX(moved_at) FROM scheduler GROUP BY pid"
"""By the number of a process: the end of its last round."""


class Watch:
    """Counts for how long a process has not gone on, and complains."""

    def __init__(self, made: Arena, clock: Callable[[], float] = time.monotonic) -> None:
        self.made = made
        self.limit = LIMIT
        self._clock = clock
        self._looked_at = clock()
        self._still: dict[str, tuple[Hashable, float]] = {}
        """By process: how far it was, and for how long it has been there."""
        self._rounds: dict[int, float] = {}
        self._complaints: list[str] = []

    def look(self) -> None:
        """Look at every process that has no fault of its own."""
        now = self._clock()
        if now - self._looked_at < EVERY:
            return
        passed, self._looked_at = min(now - self._looked_at, 2 * EVERY), now
        places = {**self._schedulers(), **self._workers()}
        still = {}
        for name, place in places.items():
            before, seconds = self._still.get(name, (None, 0.0))
            still[name] = (place, seconds + passed if place == before else 0.0)
            if still[name][1] > self.limit:
                self._complaints.append(f"{name} for {self.limit:.0f} s")
                still[name] = (place, 0.0)
        self._still = still

    def complaints(self) -> list[str]:
        """Findings since the last time."""
        found = [*self._complaints, *self.made.fallen]
        self._complaints.clear()
        self.made.fallen.clear()
        return found

    def _schedulers(self) -> dict[str, Hashable]:
        """The last round of each scheduler."""
        ended = dict(self.made.rows(ROUNDS))
        pids = self.made.able(self.made.schedulers)
        # The recorded moment varies a little with every heartbeat, so it must move by a second.
        for pid in pids:
            if ended.get(pid, 0.0) > self._rounds.get(pid, 0.0) + 1:
                self._rounds[pid] = ended[pid]
        return {f"scheduler {pid} has finished no round": self._rounds.get(pid) for pid in pids}

    def _workers(self) -> dict[str, Hashable]:
        """The attempts of each worker that has none in progress while a shard is ready."""
        if not self.made.rows(CLAIMABLE)[0][0]:
            return {}
        attempts = {pid: (begun, going_on) for pid, begun, going_on in self.made.rows(ATTEMPTS)}
        found: dict[str, Hashable] = {}
        for parent in self.made.able(self.made.workers):
            mine = [attempts.get(pid, (0, 0)) for pid in self.made.family(parent)]
            if not any(going_on for _, going_on in mine):
                begun = sum(begun for begun, _ in mine)
                found[f"worker {parent} has taken nothing, though shards were ready,"] = begun
        return found
