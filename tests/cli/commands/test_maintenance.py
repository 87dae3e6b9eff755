"""headwise change, purge, compact and migrate."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from cli.commands import maintenance
from db.database import Database
from db.queue import claims, lifecycle
from db.reads import job_list
from db.reads import jobs as job_reads
from db.results import commit as results
from tests.cli.conftest import Headwise
from tests.helpers.jobs import ALICE, completed, planned_job


def finished(store: Database, age: float = 0) -> int:
    job = planned_job(store)
    while held := claims.claim(store, ALICE, 60):
        assert results.commit_shard(store, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(store)
    lifecycle.finish_jobs(store)
    with store.write() as tx:
        older = text("UPDATE job SET finished_at = finished_at - :age WHERE id = :job")
        tx.execute(older, {"age": age * 86_400, "job": job})
    return job


def test_submit_with_days_and_deadline(headwise: Headwise, home: Path, store: Database) -> None:
    options = ("--model", "home/model", "--data", "home/pairs.jsonl")
    options = tuple(str(home.parent / o) if o.startswith("home") else o for o in options)
    ran = headwise(
        *("submit", *options, "--text", "premise,hypothesis", "--deadline", "90"),
        *("--keep-days", "30", "--keep-details-days", "0", "--priority", "-5"),
    )
    assert ran.status == 0, ran.err
    job = job_reads.get_job(store, 1)
    assert (job.keep_days, job.keep_details_days, job.priority) == (30, 0, -5)
    assert job.deadline_at is not None
    ran = headwise("submit", *options, "--text", "premise", "--deadline", "tomorrow")
    assert (ran.status, ran.out) == (2, "")
    assert "deadline: is neither a number of seconds nor a time" in ran.err


def test_change(headwise: Headwise, store: Database) -> None:
    job = planned_job(store)
    ran = headwise("change", str(job), "--priority", "9", "--keep-days", "2")
    assert (ran.status, ran.out) == (0, f"Job {job}: priority 9, keep days 2.\n")
    assert job_reads.get_job(store, job).priority == 9
    assert headwise("change", str(job)).status == 2
    assert headwise("change", "99", "--priority", "1").err == "headwise: There is no job 99.\n"


def test_purge_shows_first_and_removes_then(headwise: Headwise, store: Database) -> None:
    old, young = finished(store, age=10), finished(store)
    assert headwise("purge").out == "Nothing is due.\n"
    ran = headwise("purge", "--keep-details-days", "5")
    assert f'job {old} "test": details, 78 rows, about 5.1 kB' in ran.out
    assert "Nothing was removed; --yes removes it." in ran.out
    assert job_reads.get_job(store, old).purged_at is None
    ran = headwise("purge", "--keep-details-days", "5", "--yes")
    assert "Removed 78 rows" in ran.out
    assert job_reads.get_job(store, old).purged_at is not None
    ran = headwise("purge", "--job", str(young), "--yes", "--json")
    assert ran.json["jobs"][0]["rows"] == 78
    with store.read() as tx:
        assert tx.run("SELECT COUNT(*) FROM head_score").scalar() == 0
    assert headwise("purge", "--keep-days", "-1").status == 2
    assert headwise("purge", "--keep-days", "5", "--yes").status == 0
    assert [job.id for job in job_list.list_jobs(store)] == [young]


def test_compact_makes_an_old_file_give_space_back(headwise: Headwise, store: Database) -> None:
    with store.autocommit() as connection:
        connection.exec_driver_sql("PRAGMA auto_vacuum = NONE")
        connection.exec_driver_sql("VACUUM")
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 0
    ran = headwise("compact")
    assert ran.status == 0, ran.err
    assert "The database file shrank from" in ran.out
    # A connection remembers the mode that it found.
    store.close()
    with store.read() as tx:
        assert tx.run("PRAGMA auto_vacuum").scalar() == 2


def test_migrate_says_where_the_database_is(headwise: Headwise, home: Path) -> None:
    assert headwise("migrate").out.startswith("The database is ready: the schema is current (")
    assert headwise("migrate").status == 0
    assert (home / "headwise.sqlite").exists()


@pytest.mark.services
def test_migrate_makes_the_consoles_role_with_the_password_that_is_set(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, empty_postgres_url: str
) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", empty_postgres_url)
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(maintenance, "create_console_role", lambda *values: made.append(values))
    ran = headwise("migrate", "--console-role")
    assert ran.status == 2
    assert "HEADWISE_CONSOLE_URL: has no role and password" in ran.err
    assert f"postgresql://{empty_postgres_url.rpartition('/')[2]}_console:password@" in ran.err
    monkeypatch.setenv("HEADWISE_CONSOLE_URL", "postgresql://lab%20console:p%40ss@h/d")
    assert headwise("migrate", "--console-role").status == 0
    assert made == [(empty_postgres_url, "p@ss", "lab console")]
