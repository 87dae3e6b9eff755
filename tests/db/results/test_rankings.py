"""Rankings with intervals: merged from shards, the same on every database and for every order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit, rankings
from headwise.stats.ranking import ImportanceSums
from jobs.errors import NotFoundError
from jobs.kinds.attribution import AttributionSpec
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, importance_of, planned_job, result_of

SOURCES = [source.name for source in AttributionSpec.ranking_sources]
FAILED = frozenset({1})
COLUMNS = "source, layer, head, n, mean, standard_error, rank, rank_low, rank_high"


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def finish(database: Database) -> None:
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def run(database: Database, kind: str, *, backwards: bool = False) -> None:
    """Commit every shard, in order or the other way round, and finish."""
    held = []
    while one := claims.claim(database, ALICE, 60):
        held.append(one)
    for one in reversed(held) if backwards else held:
        if kind == "importance":
            done = Completed(parts=(importance_of(one.lo, one.hi, FAILED),), seconds=0.1)
        else:
            done = completed(one.lo, one.hi, FAILED)
        assert commit.commit_shard(database, one, done, "model")
    finish(database)


@pytest.mark.parametrize("kind", ["attribution", "importance"])
def test_the_rankings_of_shards_are_those_of_the_whole(database: Database, kind: str) -> None:
    job = planned_job(database, examples=7, size=3, kind=kind)
    run(database, kind)
    whole = importance_of(0, 7, FAILED) if kind == "importance" else result_of(0, 7, FAILED)
    found = rows(database, f"SELECT {COLUMNS} FROM importances ORDER BY 1, 2, 3")
    assert len(found) == len(whole.ranked) * SITES * HEADS
    expected = []
    for source, values in sorted(whole.ranked.items()):
        one = ImportanceSums.of(values, np.arange(7)).importance(source)
        for site, head in np.ndindex(SITES, HEADS):
            numbers = [one.mean, one.standard_error, one.rank, one.rank_low, one.rank_high]
            expected.append([source, site, head, 6, *(a[site, head].item() for a in numbers)])
    for row, wanted in zip(found, expected, strict=True):
        assert row[:4] == tuple(wanted[:4])
        assert row[4:6] == pytest.approx(wanted[4:6], rel=1e-9)
        assert row[6:] == tuple(wanted[6:])
    assert rows(database, "SELECT COUNT(*) FROM ranking_sum") == [(0,)]
    heads, provisional = rankings.get_rankings(database, job)
    assert (len(heads), provisional) == (len(found), False)


def test_the_order_of_shards_does_not_change_an_importance_jobs_hash(database: Database) -> None:
    for backwards in (False, True):
        planned_job(database, kind="importance")
        run(database, "importance", backwards=backwards)
    hashes = rows(database, "SELECT result_hash FROM jobs")
    assert hashes[0] == hashes[1]
    assert hashes[0][0] is not None


def test_values_per_example_leave_failed_ones_out(database: Database) -> None:
    planned_job(database, kind="importance")
    run(database, "importance")
    where = "WHERE source = 'leave-one-out-loss' AND layer = 1 AND head = 2"
    found = rows(database, f"SELECT example, value FROM head_values {where} ORDER BY 1")
    values = importance_of(0, 6).values["leave-one-out-loss"][:, 1, 2]
    assert [n for n, _ in found] == [0, 2, 3, 4, 5]
    np.testing.assert_allclose([v for _, v in found], np.delete(values, 1), rtol=1e-6)
    assert rows(database, "SELECT example FROM examples WHERE error IS NOT NULL") == [(1,)]


def test_a_running_job_has_provisional_rankings(database: Database) -> None:
    job = planned_job(database)
    assert rankings.get_rankings(database, job) == ([], True)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    heads, provisional = rankings.get_rankings(database, job)
    assert provisional
    assert {head.source for head in heads} == set(SOURCES)
    assert {(head.n, head.rank_low) for head in heads} == {(2, None)}
    assert rankings.list_rankings(database, job, SITES, HEADS) == []
    with pytest.raises(NotFoundError, match="no ranking by 'attattr'"):
        rankings.get_means(database, job, "attattr")


def test_a_job_with_shards_of_an_older_version_has_ranks_without_intervals(
    database: Database,
) -> None:
    job = planned_job(database)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    with database.write() as tx:
        tx.run("DELETE FROM ranking_sum")
    run(database, "attribution")
    found = rows(database, "SELECT DISTINCT n, rank_low, rank_high FROM importances")
    assert found == [(6, None, None)]
    ranked = "SELECT layer, head, rank, mean FROM importances WHERE source = 'attattr' ORDER BY 3"
    plain = "SELECT layer, head, rank, mean FROM head_importance ORDER BY 3"
    assert rows(database, ranked) == rows(database, plain)
    assert len(rankings.list_rankings(database, job, SITES, HEADS)) == len(SOURCES)
    assert rankings.get_means(database, job, "attention").shape == (SITES, HEADS)


def test_deleting_a_job_deletes_its_rankings_and_values(database: Database) -> None:
    job = planned_job(database, kind="importance")
    run(database, "importance")
    lifecycle.set_control(database, job, "delete")
    for table in ("ranking", "head_value", "ranking_sum", "site"):
        assert rows(database, f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_job_has_its_own_rankings_however_many_are_newer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    for _ in range(3):
        jobs.append(planned_job(database))
        run(database, "attribution")
    monkeypatch.setattr(rankings, "MOST_OFFERED", 2 * len(SOURCES))
    found = rankings.list_rankings(database, jobs[0], SITES, HEADS)
    assert [(one.job_id, one.source) for one in found] == [
        (job, source) for job in (jobs[2], jobs[0]) for source in sorted(SOURCES)
    ]
