"""The shard a worker gets."""

from __future__ import annotations

import dataclasses
import threading

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, WorkerCount
from db.queue import claims
from db.queue.ask import WorkerIdentity
from db.queue.sql import CLAIMABLE
from tests.helpers.jobs import (
    ALICE,
    BOB,
    planned_job,
)
from tests.helpers.queue import (
    LEASE,
    claim,
)


def test_higher_priority_then_older_job_then_first_shard(database: Database) -> None:
    old = planned_job(database)
    urgent = planned_job(database, priority=5)
    order = [(held.job_id, held.shard_no) for held in (claim(database) for _ in range(4))]
    assert order == [(urgent, 0), (urgent, 1), (urgent, 2), (old, 0)]


def test_a_worker_claims_from_its_queue_only(database: Database) -> None:
    planned_job(database, queue="gpu")
    assert claims.claim(database, ALICE, LEASE) is None


def test_a_worker_of_several_queues_claims_from_any_the_best_first(database: Database) -> None:
    jobs = {
        queue: planned_job(database, size=6, queue=queue, priority=priority)
        for queue, priority in (("cpu", 0), ("gpu", 0), ("urgent", 5), ("other", 9))
    }
    both = dataclasses.replace(ALICE, queue="gpu,cpu,urgent")
    fleet.report_worker(database, both, ProcessState.IDLE)
    assert fleet.count_workers(database, 60) == dict.fromkeys(
        both.queues, WorkerCount(idle=1, alive=1)
    )
    held = [claims.claim(database, both, LEASE) for _ in range(4)]
    order = [claim and claim.job_id for claim in held]
    assert order == [jobs["urgent"], jobs["cpu"], jobs["gpu"], None]


def test_nothing_ready_gives_no_claim(database: Database) -> None:
    assert claims.claim(database, ALICE, LEASE) is None


def test_two_claimers_never_get_the_same_shard(database: Database) -> None:
    planned_job(database, examples=40, size=1)
    taken: list[int] = []
    lock = threading.Lock()

    def take(who: WorkerIdentity) -> None:
        mine = Database(database.url)
        while held := claims.claim(mine, who, LEASE):
            with lock:
                taken.append(held.shard_no)
        mine.close()

    threads = [threading.Thread(target=take, args=(who,)) for who in (ALICE, BOB, ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))


def test_what_is_claimable(database: Database) -> None:
    """Each condition alone takes the shard from it."""

    def claimable(*queues: str) -> bool:
        with database.read() as tx:
            return bool(tx.run(CLAIMABLE, queues=queues).scalar())

    assert not claimable("default")
    job = planned_job(database)
    assert claimable("default")
    assert claimable("other", "default")
    assert not claimable("other")
    for table, column, value in (
        ("shard", "state", "done"),
        ("shard", "available_at", 1e12),
        ("job", "state", "paused"),
        ("job", "control", "pause"),
    ):
        where = f"WHERE {'id' if table == 'job' else 'job_id'} = :job"
        with database.write() as tx:
            before = tx.run(f"SELECT {column} FROM {table} {where}", job=job).scalars().first()
            tx.run(f"UPDATE {table} SET {column} = :value {where}", job=job, value=value)
        assert not claimable("default"), (table, column)
        with database.write() as tx:
            tx.run(f"UPDATE {table} SET {column} = :value {where}", job=job, value=before)
        assert claimable("default")
