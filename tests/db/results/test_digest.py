"""A finished job's digest says what reading everything would say; a running one's pages sample."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from db import schema
from db.database import Database
from db.queue import claims, lifecycle
from db.reads import results
from db.results import commit, digest, rankings
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, planned_job, result_of

EXAMPLES = 30


def commit_in_order(
    database: Database, order: list[int], failed: frozenset[int] = frozenset()
) -> None:
    """Claim as many shards as `order` has, and commit them in that order."""
    held = [claims.claim(database, ALICE, 60) for _ in order]
    for place in order:
        one = held[place]
        assert one is not None
        done = completed(one.lo, one.hi, failed)
        assert commit.commit_shard(database, one, done, "model")


def finish(database: Database) -> None:
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database)


def strongest(database: Database, job: int, site: int, head: int) -> tuple[list[int], int]:
    rows, searched = results.strongest_examples(database, job, site, head, EXAMPLES)
    return [row["example_no"] for row in rows], searched


def expected(site: int, head: int, failed: frozenset[int]) -> list[int]:
    score = result_of(0, EXAMPLES).score[:, site, head]
    good = [n for n in range(EXAMPLES) if n not in failed]
    return sorted(good, key=lambda n: (-score[n], n))[: digest.TOP]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2]])
def test_the_strongest_of_all_examples_are_known_at_the_end(
    database: Database, order: list[int]
) -> None:
    failed = frozenset({2, 20})
    job = planned_job(database, EXAMPLES, size=6)
    commit_in_order(database, order, failed)
    finish(database)
    for site in range(SITES):
        for head in range(HEADS):
            found = strongest(database, job, site, head)
            assert found == (expected(site, head, failed), EXAMPLES)
    with database.read() as tx:
        left = select(func.count()).select_from(schema.shard_top)
        assert tx.execute(left).scalar_one() == 0


def test_shards_of_an_old_worker_leave_the_strongest_to_a_sample(database: Database) -> None:
    job = planned_job(database, EXAMPLES, size=6)
    commit_in_order(database, [0, 1, 2, 3, 4])
    with database.write() as tx:
        tx.execute(schema.shard_top.delete().where(schema.shard_top.c.shard_no == 2))
    finish(database)
    with database.read() as tx:
        assert tx.execute(select(schema.strongest)).all() == []
    assert strongest(database, job, 1, 2) == (expected(1, 2, frozenset()), EXAMPLES)


def test_equal_scores_go_by_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "TOP", 3)
    numbers = np.array([7, 3, 5, 9], dtype=np.int32)[:, None, None]
    scores = np.array([1.0, 1.0, 2.0, np.nan], dtype=np.float32)[:, None, None]
    examples, kept = digest._strongest(numbers, scores)
    assert examples.ravel().tolist() == [5, 3, 7]
    assert kept.ravel().tolist() == [2.0, 1.0, 1.0]


def test_the_digest_equals_what_is_read_while_the_job_runs(database: Database) -> None:
    """With so few examples both read all of them."""
    job = planned_job(database, EXAMPLES, size=6)
    commit_in_order(database, [0, 1, 2, 3, 4])

    def read() -> tuple[object, ...]:
        return (
            results.get_completeness(database, job, EXAMPLES),
            results.get_confusion(database, job, EXAMPLES),
            [
                results.head_scores(database, job, site, head, EXAMPLES)
                for site in range(SITES)
                for head in range(HEADS)
            ],
            results.alike_examples(database, job, 4, EXAMPLES),
            strongest(database, job, 1, 2),
        )

    before = read()
    finish(database)
    assert read() == before
    assert before[1] == ({(0, 0): 15, (1, 1): 15}, True)


def test_a_job_without_gold_labels_is_not_counted_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(database, 4, size=2)
    with database.write() as tx:
        tx.execute(schema.example.update().values(gold=None))
    commit_in_order(database, [0, 1])
    finish(database)
    monkeypatch.setattr(digest, "CONFUSION", "no query")
    assert results.get_confusion(database, job, 4) == ({}, True)


def test_provisional_importance_is_of_evenly_spaced_shards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(database, EXAMPLES, size=2)
    commit_in_order(database, list(range(8)))
    with database.read() as tx:
        assert sorted(rankings.spread_shards(tx, job)) == list(range(8))
        monkeypatch.setattr(rankings, "PROVISIONAL", 3)
        assert sorted(rankings.spread_shards(tx, job)) == [2, 5]
    importance = results.get_importance(database, job)
    assert importance.provisional
    assert {head.n for head in importance.heads} == {4}
    found, provisional = rankings.get_rankings(database, job)
    assert provisional
    assert {head.n for head in found} == {4}


def test_deleting_a_job_deletes_its_digest(database: Database) -> None:
    job = planned_job(database, EXAMPLES, size=6)
    commit_in_order(database, [0, 1, 2, 3, 4])
    finish(database)
    lifecycle.set_control(database, job, "delete")
    with database.read() as tx:
        for table in (schema.site_summary, schema.confusion, schema.strongest):
            assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 0
        assert digest.score_sample(tx, job, EXAMPLES).examples.size == 0


def test_a_replaced_sqlite_file_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "headwise.sqlite"
    opened = Database(f"sqlite:///{file}")
    opened.migrate()
    opened.close()
    shutil.copy(file, tmp_path / "copy")
    job = planned_job(opened)
    with opened.read() as tx:
        assert tx.execute(select(schema.job.c.id)).scalars().all() == [job]
    for beside in ("-wal", "-shm"):
        (tmp_path / f"headwise.sqlite{beside}").unlink(missing_ok=True)
    (tmp_path / "copy").replace(file)
    with opened.read() as tx:
        assert tx.execute(select(schema.job.c.id)).scalars().all() == []
    opened.close()
