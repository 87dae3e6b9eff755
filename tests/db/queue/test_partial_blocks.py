"""The finished part of a block is kept under its attempt's fence, and shown as progress."""

from __future__ import annotations

from dataclasses import replace

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.claims import Claim
from db.reads import jobs as job_reads
from db.results import commit
from jobs.outcome import Completed, HandedBack, PartialBlock, StopReason
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import BOB, completed, result_of
from tests.helpers.queue import LEASE, blocked_job, claim, compute

PAUSE = HandedBack(reason=StopReason.PAUSE)


def partial(lo: int, hi: int, *finished: int) -> PartialBlock:
    parts = [result_of(number, number + 1) for number in finished]
    return PartialBlock(
        lo=lo,
        hi=hi,
        finished=finished,
        result=type(parts[0]).joined(parts),
        seconds=1.0,
        fingerprint="model",
    )


def shown(database: Database, job: int) -> int:
    return job_reads.get_job(database, job).computed


def test_a_hand_back_keeps_it_for_the_next_attempt(database: Database) -> None:
    job = blocked_job(database, 12, 4)
    held = claim(database)
    claims.renew(database, held, 2, LEASE)
    claims.hand_back(database, held, "pause", partial(0, 4, 1, 3))
    assert shown(database, job) == 2
    again = claim(database, who=BOB)
    assert again.progress == 2
    assert shown(database, job) == 2
    found = commit.read_shard(database, again).partial
    assert found is not None
    assert (found.lo, found.hi, found.finished, found.seconds) == (0, 4, (1, 3), 1.0)
    whole = found.with_more(partial(0, 4, 0, 2))
    assert whole.finished == (0, 1, 2, 3)
    assert whole.result.score.tolist() == result_of(0, 4).score.tolist()
    done = Completed(parts=(whole.result,), seconds=whole.seconds)
    assert commit.commit_shard(database, again, done, "model", PAUSE)
    assert rows(database, "SELECT * FROM partial_block") == []
    assert shown(database, job) == 4


def test_a_commit_keeps_the_block_after_it(database: Database) -> None:
    job = blocked_job(database, 12, 4)
    held = claim(database)
    done = replace(compute(held, 4), partial=partial(4, 8, 6))
    assert commit.commit_shard(database, held, done, "model", PAUSE)
    assert rows(database, "SELECT lo, finished FROM partial_block") == [(4, 1)]
    assert rows(database, "SELECT lo, progress FROM shard WHERE state = 'ready'") == [(4, 1)]
    assert shown(database, job) == 5


def test_a_zombie_keeps_nothing(database: Database) -> None:
    blocked_job(database, 8, 4)
    zombie = claim(database)
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    lifecycle.expire_leases(database)
    claim(database, who=BOB)
    claims.hand_back(database, zombie, "pause", partial(0, 4, 1))
    assert rows(database, "SELECT * FROM partial_block") == []


def test_a_block_that_was_given_away_is_not_kept(database: Database) -> None:
    blocked_job(database, 12, 4)
    held = claim(database)
    assert claims.give_away(database, held, 4)
    done = replace(compute(replace(held, hi=8)), partial=partial(8, 12, 9))
    assert commit.commit_shard(database, held, done, "model", PAUSE)
    assert rows(database, "SELECT * FROM partial_block") == []


def lose(database: Database, held: Claim) -> None:
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    assert [one.shard_no for one in lifecycle.expire_leases(database)] == [held.shard_no]


def test_losses_of_workers_do_not_lose_it(database: Database) -> None:
    job = blocked_job(database, 4, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 2))
    for _ in range(4):
        held = claim(database)
        claims.renew(database, held, 3, LEASE)
        lose(database, held)
        assert shown(database, job) == 1


def test_a_halved_block_begins_again(database: Database) -> None:
    """Its halves have other batches, so their numbers could differ from those of another run."""
    job = blocked_job(database, 4, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 2))
    for _ in range(5):
        lose(database, claim(database))
    assert rows(database, "SELECT lo, hi, progress FROM shard ORDER BY lo") == [
        (0, 2, 0),
        (2, 4, 0),
    ]
    assert shown(database, job) == 0
    for _ in range(2):
        held = claim(database)
        assert commit.read_shard(database, held).partial is None
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    assert rows(database, "SELECT * FROM partial_block") == []
