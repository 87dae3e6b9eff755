"""Users get their turn: a simulated fleet on the real queue, with a clock of its own."""

from __future__ import annotations

import heapq
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from db import transaction
from db.database import Database
from db.queue import claims, usage
from db.queue.attempts import end_attempt
from db.queue.claims import Ask, Claim, WorkerIdentity
from db.queue.sql import DONE
from jobs.outcome import AttemptEnd, AttemptOutcome
from tests.helpers.databases import sqlite_database
from tests.helpers.jobs import planned_job

SHARD = 60.0
"""Seconds of a shard."""


class Fleet:
    """Workers that compute shards of a minute each, in simulated time."""

    def __init__(self, database: Database, workers: int) -> None:
        self.database = database
        self.now = 1e9
        self.events = [(self.now + n, n) for n in range(workers)]
        self.held: dict[int, Claim] = {}
        self.loaded: dict[int, str] = {}
        self.switches = 0
        self.started: dict[int, list[float]] = {}
        """By job, when its shards were claimed."""
        event.listen(database.engine, "connect", self._connect)
        database.close()  # connections from before this

    def _connect(self, connection: sqlite3.Connection, _: Any) -> None:
        connection.create_function("simulated", 0, lambda: self.now)

    def step(self) -> None:
        """One worker stores its shard and claims the next."""
        self.now, worker = heapq.heappop(self.events)
        if worker in self.held:
            self._store(self.held.pop(worker))
        who = WorkerIdentity(
            name=f"w{worker}", host="h", pid=worker, queue="default", device="cpu", versions="{}"
        )
        held = claims.claim(self.database, who, 1e6, Ask(model=self.loaded.get(worker)))
        if held is not None:
            self.held[worker] = held
            self.started.setdefault(held.job_id, []).append(self.now)
            model = self.database.value("SELECT model FROM job WHERE id = :id", id=held.job_id)
            self.switches += self.loaded.get(worker) not in (None, model)
            self.loaded[worker] = model
        heapq.heappush(self.events, (self.now + SHARD, worker))

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


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = sqlite_database(tmp_path / "headwise.sqlite")
    monkeypatch.setitem(transaction._TERMS["sqlite"], "clock", "simulated()")
    transaction._statement.cache_clear()
    yield database
    database.close()
    transaction._statement.cache_clear()


def submit(database: Database, user: str, shards: int) -> int:
    return planned_job(database, shards, 1, user_name=user, model=f"model of {user}")


def test_a_small_job_does_not_wait_for_two_large_ones(simulated: Database) -> None:
    """It waited for 206 s: whoever held no shard at that moment came first, as did their model."""
    fleet = Fleet(simulated, workers=2)
    for user in ("anna", "boris"):
        submit(simulated, user, 30)
    fleet.run(600)
    small = submit(simulated, "clara", 1)
    asked = fleet.now
    fleet.run(2 * SHARD)
    assert fleet.started[small][0] - asked <= SHARD


def jain(received: list[float]) -> float:
    """Jain's fairness index: 1 if all received the same, 1/n if one received everything."""
    values = np.array(received)
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))


def test_users_with_unequal_loads_receive_alike(simulated: Database) -> None:
    """Heavy tails: a few users want most of the work, others a shard now and then."""
    draw = random.Random(5)
    fleet = Fleet(simulated, workers=6)
    heavy, light = [f"heavy {n}" for n in range(9)], [f"light {n}" for n in range(12)]
    for user in heavy:
        submit(simulated, user, min(150, int(20 * draw.paretovariate(1.1))))
    waits = []
    for _ in range(12):
        fleet.run(240)
        job, asked = submit(simulated, draw.choice(light), 1), fleet.now
        waits.append((job, asked))
    fleet.run(600)
    owners = dict(simulated_owners(simulated))
    within = Counter(
        owners[job] for job, times in fleet.started.items() for at in times if at < 1e9 + 2_880
    )
    assert jain([within[user] for user in heavy]) > 0.95
    waited = [fleet.started[job][0] - asked for job, asked in waits]
    assert max(waited) <= SHARD
    shards = sum(map(len, fleet.started.values()))
    assert fleet.switches < 0.7 * shards


def simulated_owners(database: Database) -> list[tuple[int, str]]:
    return [(row["id"], row["user_name"]) for row in database.rows("SELECT id, user_name FROM job")]


def recent(database: Database) -> dict[str, float]:
    """The seconds that count now, by user."""
    return {row["user_name"]: row["seconds"] for row in database.rows(usage.RECENT)}


def test_usage_fades(simulated: Database) -> None:
    fleet = Fleet(simulated, workers=1)
    submit(simulated, "anna", 2)
    fleet.run(3 * SHARD)
    assert recent(simulated)["anna"] == pytest.approx(2 * SHARD, rel=0.05)
    fleet.now += usage.HALF_LIFE
    assert recent(simulated)["anna"] == pytest.approx(SHARD, rel=0.05)
    fleet.now += 2_000 * usage.HALF_LIFE  # PostgreSQL's exp() would underflow
    assert recent(simulated)["anna"] == 0
    usage.forget(simulated)
    assert recent(simulated) == {}


def test_a_heavy_user_is_not_shut_out_by_newcomers(simulated: Database) -> None:
    """A day of work does not count for a day: who holds nothing comes before who holds a shard."""
    fleet = Fleet(simulated, workers=3)
    submit(simulated, "anna", 120)
    fleet.run(1_800)
    for user in ("boris", "clara"):
        submit(simulated, user, 60)
    before = len(fleet.started[1])
    fleet.run(1_200)
    assert len(fleet.started[1]) - before >= 15
