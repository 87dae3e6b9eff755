"""Logs in the database: batches, order for those who follow, bounds, failures that harm nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from db.database import Database
from db.ops import deletion, logs
from db.ops.logs import LogShipper
from db.queue import claims, lifecycle
from db.results import commit
from jobs.errors import InputError, NotFoundError, UnavailableError
from jobs.processes.logs import Pending
from tests.helpers.jobs import ALICE, completed, planned_job


def add(lines: Pending, job: int, *events: str, level: str = "info", **about: int) -> None:
    for event in events:
        lines.add(level, event, "", {"job": job, "shard": 0, "attempt": 1, **about})


def shipper(database: Database, lines: Pending, source: str = "w", kept: int = 100) -> LogShipper:
    return LogShipper(database, source, seconds=0.05, kept=kept, lines=lines)


def everything(database: Database, job: int, level: str = "", shard: int | None = None) -> Any:
    return [
        line for part in logs.whole_log(database, job, level=level, shard=shard) for line in part
    ]


def events(database: Database, job: int, **filters: Any) -> list[str]:
    return [line.event for line in everything(database, job, **filters)]


def test_lines_come_in_order_with_times_of_the_database(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    add(lines, job, "first", "second")
    before = clock(database)
    shipper(database, lines).ship()
    found = everything(database, job)
    assert [(line.event, line.shard, line.attempt, line.source) for line in found] == [
        ("first", 0, 1, "w"),
        ("second", 0, 1, "w"),
    ]
    assert found[0].stored_at == found[1].stored_at
    assert before - 5 < found[0].at <= found[1].at <= found[0].stored_at <= clock(database)


def test_filters_of_level_and_shard(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    add(lines, job, "quiet", level="debug")
    add(lines, job, "note")
    add(lines, job, "careful", level="warning", shard=1)
    add(lines, job, "bad", level="error", shard=2)
    lines.add("info", "planned", "", {"job": job})
    shipper(database, lines).ship()
    assert events(database, job) == ["quiet", "note", "careful", "bad", "planned"]
    assert events(database, job, level="warning") == ["careful", "bad"]
    assert events(database, job, shard=1) == ["careful"]
    assert events(database, job, level="error", shard=1) == []
    newest = logs.newest_lines(database, job, level="", shard=None, limit=2)
    assert [line.event for line in newest] == ["bad", "planned"]


def test_pages_backwards_and_forwards_miss_nothing(database: Database) -> None:
    job = planned_job(database)
    for source in ("a", "b", "c"):
        lines = Pending()
        add(lines, job, *(f"{source}{n}" for n in range(5)))
        shipper(database, lines, source).ship()
    with database.write() as tx:
        tx.run("UPDATE job_log SET stored_at = stored_at - 3")
    forwards, after = [], ""
    while found := logs.lines_after(database, job, level="", shard=None, after=after, limit=4):
        forwards += [line.event for line in found]
        after = found[-1].cursor
    assert forwards == [f"{source}{n}" for source in "abc" for n in range(5)]
    backwards, before = [], ""
    while found := logs.newest_lines(database, job, level="", shard=None, before=before, limit=4):
        backwards += [line.event for line in found]
        before = min(found, key=lambda line: (line.stored_at, line.source, line.number)).cursor
    assert sorted(backwards) == sorted(forwards)


def test_who_follows_gets_lines_once_they_have_settled(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    add(lines, job, "one")
    shipper(database, lines).ship()
    follow: dict[str, Any] = {"level": "", "shard": None, "limit": 10}
    assert logs.lines_after(database, job, **follow) == []
    (line,) = logs.lines_so_far(database, job, **follow)
    assert logs.lines_so_far(database, job, after=line.cursor, **follow) == []
    with database.write() as tx:
        tx.run("UPDATE job_log SET stored_at = stored_at - 3")
    (line,) = logs.lines_after(database, job, **follow)
    assert logs.lines_after(database, job, after=line.cursor, **follow) == []


@pytest.mark.parametrize(
    "cursor", ["x", "1/2", "1/x/w", "nan/1/w", "1e99/1/w", "1/-1/w", "1/2/a\0"]
)
def test_a_made_up_place_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InputError, match="not a position in this log"):
        logs.lines_after(database, 1, level="", shard=None, after=cursor, limit=1)


def test_a_long_log_keeps_its_newest_lines_and_says_what_is_gone(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    ships = shipper(database, lines, kept=10)
    for batch in range(3):
        add(lines, job, *(f"{batch}.{n}" for n in range(8)))
        add(lines, job, "other", attempt=2)
        ships.ship()
    mine = [line for line in everything(database, job) if line.attempt == 1]
    mine.sort(key=lambda line: line.number)
    assert [line.event for line in mine[1:]] == [
        *(f"1.{n}" for n in range(6, 8)),
        *(f"2.{n}" for n in range(8)),
    ]
    assert "oldest lines were dropped" in mine[0].event
    assert mine[0].details == "dropped=14 kept=10"
    assert events(database, job).count("other") == 3


def test_lines_of_a_deleted_job_are_dropped_and_go_with_it(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    ships = shipper(database, lines)
    add(lines, job, "kept until then")
    ships.ship()
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    lifecycle.set_control(database, job, "delete")
    assert counted(database, "log_lines") == 0
    deletion.empty_jobs(database, 60)
    assert counted(database, "job_log") == 0
    other = planned_job(database)
    add(lines, job, "too late")
    add(lines, other, "of another job")
    ships.ship()
    assert database.value("SELECT count(*) FROM job_log WHERE job_id = :job_id", job_id=job) == 0
    assert events(database, other) == ["of another job"]
    assert lines.take(10) == []


def test_a_whole_log_that_is_deleted_meanwhile_is_no_whole_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK", 1)
    job, lines = planned_job(database), Pending()
    add(lines, job, "first", "second")
    shipper(database, lines).ship()
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    parts = logs.whole_log(database, job, level="", shard=None)
    assert [line.event for line in next(parts)] == ["first"]
    lifecycle.set_control(database, job, "delete")
    deletion.empty_jobs(database, 60)
    with pytest.raises(NotFoundError, match=f"no job {job}"):
        list(parts)


def test_a_database_that_is_away_gets_the_lines_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, lines = planned_job(database), Pending()
    ships = shipper(database, lines)
    add(lines, job, "one", "two")

    def away() -> None:
        raise UnavailableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", away)
        ships.ship()
        ships.ship()
    ships.ship()
    assert events(database, job) == ["one", "two"]


def test_the_shipper_ships_at_every_beat_when_nudged_and_at_the_end(database: Database) -> None:
    job, lines = planned_job(database), Pending()
    ships = shipper(database, lines)
    ships.start()
    add(lines, job, "beat")
    ships.nudge()
    while not events(database, job):
        time.sleep(0.02)
    add(lines, job, "last")
    ships.close()
    assert events(database, job) == ["beat", "last"]


@pytest.mark.services
def test_neither_a_commit_nor_the_end_of_a_job_waits_for_lines(postgres_url: str) -> None:
    """SQLite has one writer: there a transaction of a few lines is all that is waited for."""
    database = Database(postgres_url)
    job, lines = planned_job(database, examples=2), Pending()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    add(lines, job, "in a transaction")
    with database.write() as hanging:
        shipper(database, lines)._store(hanging, job, lines.take(10))
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
        lifecycle.sweep_jobs(database)
        assert lifecycle.finish_jobs(database) == [job]
    assert events(database, job) == ["in a transaction"]
    database.close()


def counted(database: Database, table: str) -> int:
    with database.read() as tx:
        return int(tx.run(f"SELECT COUNT(*) FROM {table}").scalar_one())


def clock(database: Database) -> float:
    with database.read() as tx:
        return float(tx.run("SELECT {clock}").scalar_one())
