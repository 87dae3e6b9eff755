"""The measurements at scale on a small scale: every page is asked for, a fleet loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale_arrays, scale_fleet, scale_pages, scale_tables
from benchmarks.scale_data import fill, fill_every_kind, planned
from benchmarks.scale_fleet import Fleet
from db.database import Database

HEADS = 144


def quiet(_line: str) -> None:
    """Say nothing."""


def test_every_page_is_measured_on_jobs_of_every_kind(database: Database) -> None:
    big = fill(database, 60, per_shard=30, log=quiet)
    assert big.rows == 60 * HEADS
    jobs = fill_every_kind(database, big, 60, shards=20)
    with database.read() as tx:
        kinds = tx.run("SELECT kind, state FROM jobs ORDER BY job_id").all()
    assert [tuple(row) for row in kinds] == [
        ("attribution", "succeeded"),
        ("importance", "succeeded"),
        ("pruning", "succeeded"),
        ("attack", "succeeded"),
        ("attribution", "running"),
    ]
    timings = scale_pages.measure(database, jobs, repeats=1)
    assert [timing.name for timing in timings] == [name for name, _ in scale_pages.addresses(jobs)]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0)])
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert scale_pages.percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_a_fleet_counts_every_shard_once(tmp_path: Path, database: Database) -> None:
    settings = scale_fleet.home(tmp_path, database.url, "", "default")
    report = scale_fleet.run(settings, Fleet(workers=4, shards=9, sleep=0.01), log=quiet)
    assert (report.doubled, report.claims) == (0, 9)
    assert report.scheduler_cpu > 0
    table = scale_tables.fleets([report])
    assert "| shards or examples lost or duplicated | 0 |" in table

    with database.write() as tx:
        tx.run("UPDATE example_result SET fence = 7 WHERE example_no = 3")
        job = tx.run("SELECT id FROM job").scalar_one()
    assert scale_fleet.wrong(database.url, job, 9) == 1


def test_a_job_that_is_not_done_is_wrong(database: Database) -> None:
    job, bounds = planned(database, 4, "attribution", 2, {})
    assert bounds == [(0, 2), (2, 4)]
    assert scale_fleet.wrong(database.url, job, 4) > 0


@pytest.mark.services
def test_arrays_hold_the_same_scores(postgres_url: str) -> None:
    database = Database(postgres_url)
    job = fill(database, 20, per_shard=10, log=quiet).job_id
    rows, arrays = scale_arrays.run(database, job, 20)
    assert rows.scores == arrays.scores == 20 * HEADS
    assert 0 < arrays.table_bytes < rows.table_bytes
    assert rows.milliseconds.keys() == arrays.milliseconds.keys() == scale_arrays.QUESTIONS.keys()
    with database.read() as tx:
        left = "SELECT COUNT(*) FROM pg_class WHERE relname IN ('score_array', 'array_score')"
        assert tx.run(left).scalar_one() == 0
    database.close()
