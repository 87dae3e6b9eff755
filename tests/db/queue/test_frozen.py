"""A session that stands still in the middle of a transaction holds up nobody else (PostgreSQL)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from db.database import Database
from db.kinds import KINDS
from db.ops import fleet
from db.ops.fleet import ProcessState, SchedulerIdentity
from db.queue import claims, lifecycle
from db.queue.ask import WorkerIdentity
from db.queue.claims import Claim
from db.results import commit
from jobs.errors import UnavailableError
from jobs.states import Control
from tests.helpers.jobs import ALICE, BOB, completed, planned_job

pytestmark = pytest.mark.services
SILENCE = 25.0


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture
def frozen(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """The session of a worker that was stopped; its transaction is open."""
    url = database.url.replace("postgresql+psycopg:", "postgresql:")
    with psycopg.connect(url) as connection:
        yield connection


def claimed(database: Database, who: WorkerIdentity = ALICE) -> Claim:
    held = claims.claim(database, who, 60)
    assert held is not None
    return held


def hold(session: psycopg.Connection[Any], held: Claim) -> None:
    """Lock a shard as a commit does."""
    session.execute(
        "SELECT 1 FROM shard WHERE job_id = %(job_id)s AND shard_no = %(shard_no)s FOR UPDATE",
        held.key,
    )


def run(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def test_whoever_may_not_wait_does_not(database: Database, frozen: psycopg.Connection[Any]) -> None:
    planned_job(database, examples=8, size=8, block=2)
    held = claimed(database)
    hold(frozen, held)
    assert claims.renew(database, held, 2, 60) is Control.RUN
    assert not claims.give_away(database, held, 4)
    assert not lifecycle.take_back(database, held, "hangs")
    run(database, "UPDATE job SET control = 'pause'")
    assert claims.renew(database, held, 2, 60) is Control.PAUSE
    frozen.rollback()
    assert claims.give_away(database, held, 4)
    assert lifecycle.take_back(database, held, "hangs")
    assert claims.renew(database, held, 2, 60) is None


def test_a_first_commit_that_stands_still_holds_up_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(database, examples=4, size=2)
    first, second = claimed(database), claimed(database, BOB)
    inside, go_on = threading.Event(), threading.Event()
    kind = KINDS["attribution"]

    class Standing:
        """Stands still inside the transaction of one commit, as a process that is stopped."""

        def __getattr__(self, name: str) -> Any:
            return getattr(kind, name)

        def commit(self, tx: Any, held: Claim, *rest: Any) -> None:
            kind.commit(tx, held, *rest)
            if held == first:
                inside.set()
                go_on.wait(60)

    monkeypatch.setitem(KINDS, "attribution", Standing())
    done: list[bool] = []

    def store(held: Claim) -> None:
        done.append(commit.commit_shard(database, held, completed(held.lo, held.hi), "model"))

    standing = threading.Thread(target=store, args=(first,))
    standing.start()
    assert inside.wait(60)
    store(second)
    assert done == [True]
    go_on.set()
    standing.join()
    assert done == [True, True]
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    with database.read() as tx:
        assert tx.run("SELECT COUNT(DISTINCT site) FROM site").scalar() == 2


def test_a_model_is_pinned_by_the_holder_of_a_lease_alone(database: Database) -> None:
    planned_job(database, examples=4, size=4)
    held = claimed(database)
    run(database, "UPDATE shard SET lease_until = 0")
    lifecycle.expire_leases(database)
    again = claimed(database, BOB)
    assert not commit.commit_shard(database, held, completed(0, 4), "another model")
    assert commit.commit_shard(database, again, completed(0, 4), "model")


@pytest.mark.parametrize("state", ["silent", "stopped", "unknown"])
def test_the_session_of_a_dead_worker_is_ended_and_its_shard_taken_back(
    database: Database, frozen: psycopg.Connection[Any], state: str
) -> None:
    planned_job(database)
    held = claimed(database)
    if state != "unknown":
        fleet.report_worker(database, ALICE, ProcessState.BUSY, held)
    run(database, "UPDATE shard SET lease_until = 0 WHERE state = 'leased'")
    hold(frozen, held)
    changes = {"silent": f"seen_at = seen_at - {SILENCE}", "stopped": "state = 'stopped'"}
    if change := changes.get(state):
        run(database, f"UPDATE worker SET {change}")
    assert lifecycle.expire_leases(database) == []
    assert lifecycle.end_sessions_of_the_dead(database, SILENCE) == ["alice"]
    assert _taken_back(database) == [held.shard_no]
    with pytest.raises(psycopg.errors.AdminShutdown):
        frozen.execute("SELECT 1")


@pytest.mark.parametrize("silent", [True, False])
def test_a_transaction_of_a_silent_scheduler_is_ended(
    database: Database, postgres_url: str, silent: bool
) -> None:
    """Whatever it holds: here a job that it was about to plan."""
    job = planned_job(database)
    name = f"scheduler-{'of a host with a long name ' * 4}-7-abcdef"
    fleet.report_scheduler(
        database,
        SchedulerIdentity(name=name, host="there", pid=7, broker="", heartbeat_seconds=1),
        state=ProcessState.RUNNING,
        doing=None,
        broker_error=None,
        still=0,
    )
    stopped = Database(postgres_url)
    stopped.name_sessions(name)
    with pytest.raises(UnavailableError) if silent else nullcontext(), stopped.write() as tx:
        tx.run(f"UPDATE job SET state = state WHERE id = {job}")
        if silent:
            run(database, f"UPDATE scheduler SET seen_at = seen_at - {SILENCE}")
        time.sleep(0.1)
        ended = lifecycle.end_sessions_of_the_dead(database, 0.05 if silent else SILENCE)
        assert ended == ([name] if silent else [])
        tx.run("SELECT 1")
    stopped.close()


def _taken_back(database: Database) -> list[int]:
    """The shards that expire once the server has ended the session."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if expired := lifecycle.expire_leases(database):
            return [shard.shard_no for shard in expired]
        time.sleep(0.05)
    return []


def test_the_session_of_a_living_worker_goes_on(
    database: Database, frozen: psycopg.Connection[Any]
) -> None:
    """A commit may take longer than a lease: its heart cannot renew it meanwhile."""
    planned_job(database)
    held = claimed(database)
    fleet.report_worker(database, ALICE, ProcessState.BUSY, held)
    run(database, "UPDATE shard SET lease_until = 0 WHERE state = 'leased'")
    hold(frozen, held)
    assert lifecycle.end_sessions_of_the_dead(database, SILENCE) == []
    assert lifecycle.expire_leases(database) == []
    frozen.execute("SELECT 1")
