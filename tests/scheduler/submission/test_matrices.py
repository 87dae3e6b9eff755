"""Matrices on demand: one quick job for each, stored with the example that they are of."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from db import schema
from db.database import Database
from db.ops import deletion, job_sizes, retention
from db.queue import claims, lifecycle
from db.reads import jobs as job_reads
from db.reads import results
from db.results import commit
from db.results.matrices import list_stored, read_matrix
from jobs.errors import ConflictError, NotFoundError
from jobs.results.head_matrices import MOST_TOKENS
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from scheduler.submission.matrices import HeadOnExample, State, compute, look_up
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission, refused
from tests.helpers.jobs import ALICE, BOB, HEADS, completed
from tests.helpers.matrices import commit_matrices, matrix_of, store


@pytest.fixture
def scheduler(settings: Settings, database: Database, app: Any) -> Scheduler:
    return Scheduler(settings, database, app)


@pytest.fixture
def job(settings: Settings, database: Database, scheduler: Scheduler) -> int:
    """A finished attribution job."""
    found = submit(check(raw_submission(settings.home), settings, database), database)
    finish(database, scheduler)
    return found


def finish(database: Database, scheduler: Scheduler) -> None:
    scheduler.tick()
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    scheduler.tick()


def place(database: Database, job: int, example: int = 1, site: int = 1, head: int = 0) -> Any:
    sites = results.list_sites(database, job)
    opened = job_reads.get_job(database, job)
    found = results.get_example(database, job, example)
    return HeadOnExample(job=opened, example=found, site=sites[site], head=head)


def test_a_quick_job_stores_the_layer_with_the_example(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    where = place(database, job)
    assert look_up(where, database).state is State.ABSENT
    quick, new = compute(where, settings, database)
    assert (quick, new) == (job + 1, True)
    assert look_up(where, database).state is State.COMPUTING
    opened = job_reads.get_job(database, quick)
    assert opened.name == "Matrix of L1 H0, job 1, example 1"
    assert opened.quick
    assert not opened.spec["keep_text"]
    # A second click while it is on its way is the same job, also for another head of the layer.
    assert compute(where, settings, database) == (quick, False)
    assert compute(place(database, job, head=HEADS - 1), settings, database) == (quick, False)
    scheduler.tick()
    store(database, 1, range(HEADS))
    found = look_up(where, database)
    assert (found.state, found.job) == (State.STORED, quick)
    want = matrix_of(1, 0)
    assert (found.attention == want.attention).all()
    assert (found.attribution == want.attribution).all()
    assert [one.name for one in list_stored(database, job, limit=99)] == [
        f"L1 H{h}" for h in range(HEADS)
    ]
    assert list_stored(database, quick, limit=99) == []
    assert compute(where, settings, database) == (quick, False)
    # Another layer, and another example, are other work.
    assert compute(place(database, job, site=0), settings, database) == (quick + 1, True)
    assert compute(place(database, job, example=2), settings, database) == (quick + 2, True)
    with database.read() as tx:
        texts = select(schema.example.c.text_a).where(schema.example.c.job_id == quick)
        assert tx.execute(texts).scalars().all() == [None]


def test_only_the_holder_of_the_lease_stores_them(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    where = place(database, job)
    compute(where, settings, database)
    scheduler.tick()
    late = claims.claim(database, ALICE, 60)
    assert late is not None
    with database.write() as tx:
        tx.run("UPDATE shard SET lease_until = 1 WHERE job_id = :job", job=late.job_id)
    lifecycle.expire_leases(database)
    with database.write() as tx:
        tx.run("UPDATE shard SET available_at = 0 WHERE job_id = :job", job=late.job_id)
    again = claims.claim(database, BOB, 60)
    assert again is not None
    assert not commit_matrices(database, late, 1, range(HEADS))
    assert look_up(where, database).state is State.COMPUTING
    assert commit_matrices(database, again, 1, range(HEADS))
    assert look_up(where, database).state is State.STORED


@pytest.mark.parametrize("end", ["purge", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_they_go_with_the_details_of_their_job(
    database: Database, settings: Settings, scheduler: Scheduler, job: int, end: str, when: str
) -> None:
    """Also when the job ends between the request and the commit."""
    where = place(database, job)
    compute(where, settings, database)
    scheduler.tick()
    if when == "after":
        store(database, 1, range(HEADS))
    control(database, job, end)
    if when == "before":
        store(database, 1, range(HEADS))
    retention.remove_details(database, seconds=60)
    deletion.empty_jobs(database, seconds=60)
    assert list_stored(database, job, limit=99) == []
    assert read_matrix(database, where.asked) is None
    with pytest.raises((ConflictError, NotFoundError)):
        compute(where, settings, database)


def test_they_stay_when_the_job_that_computed_them_goes(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    where = place(database, job)
    quick, _ = compute(where, settings, database)
    scheduler.tick()
    store(database, 1, range(HEADS))
    scheduler.tick()
    control(database, quick, "delete")
    deletion.empty_jobs(database, seconds=60)
    assert look_up(where, database).state is State.STORED
    assert compute(where, settings, database) == (quick, False)


def test_the_size_of_the_job_counts_them(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    def details() -> int:
        job_sizes.measure(database, 60)
        return next(one for one in job_sizes.list_sizes(database) if one.id == job).details or 0

    before = details()
    compute(place(database, job), settings, database)
    scheduler.tick()
    store(database, 1, range(HEADS))
    with database.read() as tx:
        stored = tx.run("SELECT SUM(LENGTH(attention) + LENGTH(attribution)) FROM head_matrix")
        assert details() - before > stored.scalar_one() > 0


def test_a_job_that_failed_says_why_and_another_is_tried(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    where = place(database, job)
    quick, _ = compute(where, settings, database)
    control(database, quick, "cancel")
    scheduler.tick()
    found = look_up(where, database)
    assert (found.state, found.message) == (State.FAILED, f"Job {quick} was cancelled.")
    again, new = compute(where, settings, database)
    assert (again, new) == (quick + 1, True)
    finish(database, scheduler)  # as an earlier release computes it
    found = look_up(where, database)
    assert found.state is State.FAILED
    assert "earlier release" in (found.message or "")


def test_a_matrix_that_is_stored_between_two_questions_has_not_failed(
    database: Database,
    settings: Settings,
    scheduler: Scheduler,
    job: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = place(database, job)
    quick, _ = compute(where, settings, database)
    scheduler.tick()
    get_job = job_reads.get_job

    def meanwhile(opened: Database, number: int) -> Any:
        store(database, 1, range(HEADS))
        scheduler.tick()
        return get_job(opened, number)

    monkeypatch.setattr(job_reads, "get_job", meanwhile)
    found = look_up(where, database)
    assert (found.state, found.job) == (State.STORED, quick)


def test_what_has_no_matrices_is_refused(
    database: Database, settings: Settings, scheduler: Scheduler, job: int
) -> None:
    with database.write() as tx:
        long = json.dumps(["a"] * (MOST_TOKENS + 1))
        tx.run("UPDATE example_result SET tokens = :long WHERE example_no = 2", long=long)
        tx.run("UPDATE example_result SET error = 'it is not finite' WHERE example_no = 3")
        tx.run("UPDATE example SET text_a = NULL WHERE example_no = 4")
    for example, *words in (
        (2, "129 tokens, and matrices are stored of up to 128", "Shorten the text"),
        (3, "failed: it is not finite", "another example"),
        (
            4,
            "not stored any more",
        ),
    ):
        refused(lambda e=example: compute(place(database, job, e), settings, database), *words)
    with pytest.raises(NotFoundError):
        compute(place(database, job, 99), settings, database)
    other = place(database, job)
    with database.write() as tx:
        tx.run("UPDATE job SET kind = 'importance' WHERE id = :job", job=job)
    refused(
        lambda: compute(
            replace(other, job=job_reads.get_job(database, job)),
            settings,
            database,
        ),
        "is of kind importance",
        "attribution job",
    )
    with database.read() as tx:
        assert tx.execute(select(schema.head_matrix)).all() == []
