"""At a deadline, what is finished of an unfinished block is stored like everything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from db.database import Database
from db.kinds import KINDS
from db.queue import claims, lifecycle
from db.reads import jobs as job_reads
from db.results import commit
from jobs.outcome import HandedBack, PartialBlock, StopReason
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import BOB, result_of
from tests.helpers.queue import blocked_job, check_whole, claim, compute, finish, shards

PAUSE = HandedBack(reason=StopReason.PAUSE)


def partial(lo: int, hi: int, *finished: int, fingerprint: str = "model") -> PartialBlock:
    parts = [result_of(number, number + 1) for number in finished]
    return PartialBlock(
        lo=lo,
        hi=hi,
        finished=finished,
        result=type(parts[0]).joined(parts),
        seconds=6.0,
        fingerprint=fingerprint,
    )


def pass_deadline(database: Database) -> None:
    execute(database, "UPDATE job SET deadline_at = 1")
    lifecycle.sweep_jobs(database)


def check_ended(database: Database, job: int, numbers: list[int]) -> None:
    """The job has failed with the results of these examples, each once, and counts them."""
    finish(database)
    ended = job_reads.get_job(database, job)
    assert (ended.state, ended.examples_done) == ("failed", len(numbers))
    missing = ended.examples - len(numbers)
    assert f"{missing} of {ended.examples} examples are missing" in str(ended.error)
    stored = rows(database, "SELECT example_no FROM example_result ORDER BY example_no")
    assert stored == [(number,) for number in numbers]
    assert rows(database, "SELECT DISTINCT n FROM importance") == [(len(numbers),)]
    assert rows(database, "SELECT * FROM partial_block") == []
    check_whole(database)


def test_what_a_worker_hands_back_after_the_deadline_is_stored(database: Database) -> None:
    job = blocked_job(database, 12, 4)
    held = claim(database)
    pass_deadline(database)
    claims.hand_back(database, held, "pause", partial(0, 4, 1, 2))
    check_ended(database, job, [1, 2])
    assert shards(database) == [
        (0, 0, 1, "cancelled"),
        (1, 1, 3, "done"),
        (3, 3, 12, "cancelled"),
    ]
    query = "SELECT shard_no, outcome, examples, seconds, error, worker FROM attempt ORDER BY 1"
    assert rows(database, query) == [
        (0, "handed-back", None, None, "pause", "alice"),
        (1, "done", 2, 6.0, "handed back: the deadline passed", "alice"),
    ]


def test_scattered_examples_after_a_commit_are_stored(database: Database) -> None:
    job = blocked_job(database, 12, 4)
    held = claim(database, who=BOB)
    pass_deadline(database)
    done = replace(compute(held, 4), partial=partial(4, 8, 4, 6, 7))
    assert commit.commit_shard(database, held, done, "model", PAUSE)
    check_ended(database, job, [0, 1, 2, 3, 4, 6, 7])
    assert shards(database) == [
        (0, 0, 4, "done"),
        (4, 4, 5, "done"),
        (5, 5, 6, "cancelled"),
        (6, 6, 8, "done"),
        (8, 8, 12, "cancelled"),
    ]
    query = "SELECT shard_no, examples, seconds, worker FROM attempt ORDER BY shard_no"
    assert rows(database, query) == [(0, 4, 0.5, "bob"), (4, 1, 2.0, "bob"), (6, 2, 4.0, "bob")]


def test_so_is_what_was_kept_before_a_deadline_that_passes_during_a_pause(
    database: Database,
) -> None:
    job = blocked_job(database, 8, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 3))
    lifecycle.set_control(database, job, "pause")
    pass_deadline(database)
    check_ended(database, job, [3])


def test_and_what_a_worker_had_that_was_lost_afterwards(database: Database) -> None:
    job = blocked_job(database, 8, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 0, 1))
    claim(database, who=BOB)
    pass_deadline(database)
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    assert len(lifecycle.expire_leases(database)) == 1
    check_ended(database, job, [0, 1])
    ((worker,),) = rows(database, "SELECT worker FROM attempt WHERE outcome = 'done'")
    assert worker == "alice"


@pytest.mark.parametrize("change", ["fingerprint = 'another'", "results = 'PK'"])
def test_what_does_not_fit_is_left_out(database: Database, change: str) -> None:
    """Results of other files of the model, or that cannot be read."""
    job = blocked_job(database, 12, 4)
    held = claim(database)
    done = replace(compute(held, 4), partial=partial(4, 8, 5))
    assert commit.commit_shard(database, held, done, "model", PAUSE)
    value = change if database.dialect == "sqlite" else change.replace("'PK'", "'PK'::bytea")
    execute(database, f"UPDATE partial_block SET {value}")
    pass_deadline(database)
    check_ended(database, job, [0, 1, 2, 3])


def test_an_error_in_storing_it_does_not_keep_the_job_from_ending(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = blocked_job(database, 12, 4)
    held = claim(database)
    done = replace(compute(held, 4), partial=partial(4, 8, 5))
    assert commit.commit_shard(database, held, done, "model", PAUSE)

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    broken_kind = replace(KINDS["attribution"], commit=broken)
    monkeypatch.setitem(KINDS, "attribution", broken_kind)  # type: ignore[arg-type]
    pass_deadline(database)
    monkeypatch.undo()
    check_ended(database, job, [0, 1, 2, 3])


def test_a_cancelled_job_stores_nothing_more(database: Database) -> None:
    job = blocked_job(database, 8, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 1))
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    assert job_reads.get_job(database, job).state == "cancelled"
    assert shards(database) == [(0, 0, 8, "cancelled")]
