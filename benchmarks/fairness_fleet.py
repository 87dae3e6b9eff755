"""A fleet in simulated time on the real queue: who gets which shard when.

Claims, commits, usage and every statement are real, on SQLite; only the clock is simulated and the
models are left out. A shard takes a minute, and a worker that has another model loaded first takes
LOAD seconds to change it.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from sqlalchemy import event

from db import transaction
from db.database import Database
from db.queue import claims, new_jobs, planning
from db.queue.ask import Ask, WorkerIdentity
from db.queue.attempts import end_attempt
from db.queue.claims import Claim
from db.queue.examples import ExampleRow
from db.queue.planning import Plan
from db.queue.sql import DONE
from jobs.outcome import AttemptEnd, AttemptOutcome

SHARD = 60.0
"""Seconds of a shard."""
LOAD = 15.0
"""Seconds that a worker takes to load another model."""
START = 1e9


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claim of the simulated fleet."""

    at: float
    job: int
    user: str
    waiting: frozenset[str]
    """Users with a ready shard before it."""


class Fleet:
    """Workers that compute shards of a minute each, in simulated time."""

    def __init__(self, database: Database, workers: int, load: float = LOAD) -> None:
        self.database = database
        self.load = load
        self.now = START
        self.events = [(self.now + n * SHARD / workers, n) for n in range(workers)]
        self.held: dict[int, Claim] = {}
        self.loaded: dict[int, str] = {}
        self.switches = 0
        self.claims: list[Claimed] = []
        self.users: dict[int, str] = {}
        self.left: dict[int, int] = {}
        event.listen(database.engine, "connect", self._connect)
        database.close()  # connections from before this

    def _connect(self, connection: sqlite3.Connection, _: Any) -> None:
        connection.create_function("simulated", 0, lambda: self.now)

    def submit(self, user: str, shards: int, priority: int = 0) -> int:
        """Submit a job of that many shards on a model of the user's own."""
        job = planned_job(self.database, user, shards, priority)
        self.users[job], self.left[job] = user, shards
        return job

    def step(self) -> None:
        """One worker stores its shard and claims the next."""
        self.now, worker = heapq.heappop(self.events)
        if worker in self.held:
            self._store(self.held.pop(worker))
        who = WorkerIdentity(
            name=f"w{worker}", host="h", pid=worker, queue="default", device="cpu", versions="{}"
        )
        held = claims.claim(self.database, who, 1e6, Ask(model=self.loaded.get(worker)))
        taken = SHARD
        if held is not None:
            taken += self._claimed(worker, held)
        heapq.heappush(self.events, (self.now + taken, worker))

    def _claimed(self, worker: int, held: Claim) -> float:
        """Note a claim; returns the seconds of loading its model."""
        self.held[worker] = held
        user = self.users[held.job_id]
        waiting = frozenset(self.users[job] for job, left in self.left.items() if left)
        self.claims.append(Claimed(at=self.now, job=held.job_id, user=user, waiting=waiting))
        self.left[held.job_id] -= 1
        before, self.loaded[worker] = self.loaded.get(worker), user
        switched = before not in (None, user)
        self.switches += switched
        return self.load * switched

    def _store(self, held: Claim) -> None:
        end = AttemptEnd(outcome=AttemptOutcome.DONE, examples=1, seconds=SHARD)
        with self.database.write() as tx:
            end_attempt(tx, held.key, end)
            tx.run(DONE, **held.key, examples_failed=0)

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        until = self.now + seconds
        while self.events[0][0] < until:
            self.step()
        self.now = until

    def started(self, job: int) -> float | None:
        """Return when the first shard of a job was claimed."""
        return next((one.at for one in self.claims if one.job == job), None)


def planned_job(database: Database, user: str, shards: int, priority: int) -> int:
    """A running job of shards of one example, on a model with the user's name."""
    values = {
        "kind": "attribution",
        "name": "simulated",
        "spec": json.dumps({"keep_text": False}),
        "spec_hash": "s",
        "user_name": user,
        "priority": priority,
        "queue": "default",
        "state": "queued",
        "control": "run",
        "dedupe_key": None,
        "idempotency_key": None,
        "labels": '["no", "yes"]',
        "layers": 2,
        "heads": 3,
        "examples": shards,
        "model": user,
    }
    examples = [ExampleRow(number, "text", None, "hash", 0) for number in range(shards)]
    job = new_jobs.create_job(database, values, examples)
    planning.take_plans(database)
    bounds = [(number, number + 1) for number in range(shards)]
    if not planning.write_plan(database, job, Plan(bounds=bounds, fingerprint="simulated")):
        raise RuntimeError("the simulated job was not planned")
    return job


@contextmanager
def simulated_clock() -> Iterator[None]:
    """The time of SQLite databases is that of the fleet on them."""
    with patch.dict(transaction._TERMS["sqlite"], clock="simulated()"):
        transaction._statement.cache_clear()
        yield
    transaction._statement.cache_clear()


def jain(received: list[float]) -> float:
    """Jain's fairness index: 1 if all received the same, 1/n if one received everything."""
    values = np.array(received)
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))
