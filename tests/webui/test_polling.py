"""Pages and programs that ask again: 304 until something has changed that they show."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, insert, update

from db import schema
from db.database import Database
from db.reads import versions
from db.transaction import Transaction
from tests.helpers.statements import queries

JOB, SHARD = schema.job, schema.shard
LOG_LINE = {
    **{"source": "w", "line_no": 1, "at": 1.0, "stored_at": 2.0, "level": 20},
    **{"event": "shard started", "details": ""},
}


@pytest.fixture
def running(database: Database, seeding: SimpleNamespace) -> int:
    """A running job: one shard is done, one is computed, one is ready."""
    job = int(seeding.seed_job(database, state="running", examples=9, done=3, shard_size=3))
    move(database, job)
    return job


def move(database: Database, job: int, ago: float = 0.0) -> None:
    """Let a leased shard have moved so many seconds ago."""
    with database.write() as tx:
        mine = (SHARD.c.job_id == job) & (SHARD.c.state == "leased")
        tx.execute(update(SHARD).where(mine).values(moved_at=tx.now() - ago))


def shown_tag(page: Any) -> str:
    """The version that a page writes beside its live part."""
    (found,) = re.findall(r'data-etag="([^"]+)"', page.text)
    return unescape(found)


def test_no_news_cost_two_queries(client: FlaskClient, app: Flask, running: int) -> None:
    first = client.get(f"/api/v1/jobs/{running}")
    assert first.status_code == 200
    assert first.json["examples_computed"] == 4
    tag = first.headers["ETag"]
    assert tag.startswith("W/")
    with queries(app.extensions["headwise"].database) as sent:
        again = client.get(f"/api/v1/jobs/{running}", headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert len(sent) == 2
    with queries(app.extensions["headwise"].database) as sent:
        assert client.get(f"/api/v1/jobs/{running}").status_code == 200
    assert len(sent) > 4


def one_shard(**values: Any) -> Callable[[Transaction, int], Any]:
    return lambda tx, job: tx.execute(
        update(SHARD).where((SHARD.c.job_id == job) & (SHARD.c.shard_no == 1)).values(**values)
    )


def the_job(**values: Any) -> Callable[[Transaction, int], Any]:
    return lambda tx, job: tx.execute(update(JOB).where(JOB.c.id == job).values(**values))


@pytest.mark.parametrize(
    "change",
    [
        one_shard(progress=2),
        one_shard(state="done"),
        one_shard(state="ready"),
        one_shard(state="failed", errors=3),
        one_shard(fence=7),
        one_shard(losses=1),
        the_job(control="pause"),
        the_job(state="succeeded"),
        the_job(priority=5),
        the_job(error="the hub does not answer"),
        the_job(plan_tries=2),
        the_job(keep_days=7),
        the_job(purged_at=1.0),
        lambda tx, job: tx.execute(insert(schema.job_log), {"job_id": job, **LOG_LINE}),
        lambda tx, job: tx.execute(
            delete(SHARD).where((SHARD.c.job_id == job) & (SHARD.c.shard_no == 2))
        ),
    ],
)
def test_every_change_is_news(
    client: FlaskClient,
    database: Database,
    running: int,
    change: Callable[[Transaction, int], Any],
) -> None:
    api, page = f"/api/v1/jobs/{running}", f"/jobs/{running}"
    headers = {"If-None-Match": client.get(api).headers["ETag"]}
    page_headers = {"If-None-Match": shown_tag(client.get(page))}
    assert client.get(api, headers=headers).status_code == 304
    assert client.get(page, headers=page_headers).status_code == 304
    with database.write() as tx:
        change(tx, running)
    assert client.get(api, headers=headers).status_code == 200
    assert client.get(page, headers=page_headers).status_code == 200


def test_a_parent_that_succeeds_is_news(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, running: int
) -> None:
    child = seeding.seed_job(database, state="queued")
    with database.write() as tx:
        tx.execute(insert(schema.job_parent), {"job_id": child, "parent_id": running})
    first = client.get(f"/api/v1/jobs/{child}")
    assert first.json["waiting"] == f"waiting for job {running}"
    with database.write() as tx:
        the_job(state="succeeded")(tx, running)
    headers = {"If-None-Match": first.headers["ETag"]}
    assert client.get(f"/api/v1/jobs/{child}", headers=headers).json["waiting"] is None


def test_a_shard_that_does_not_move_is_news_every_ten_seconds(
    database: Database, running: int
) -> None:
    def clock_of_leased() -> object:
        rows = [row for row in versions.of_jobs(database, [running], 10) if row[1] == "leased"]
        return rows[0][-1]

    move(database, running, ago=15)
    assert clock_of_leased() is None
    move(database, running, ago=25)
    found = clock_of_leased()
    assert isinstance(found, int)
    with database.read() as tx:
        now = tx.now()
    assert found == pytest.approx(now / 10, abs=1)


def test_a_page_has_its_version_beside_its_live_part_only(
    client: FlaskClient, running: int
) -> None:
    page = client.get(f"/jobs/{running}")
    tag = shown_tag(page)
    # A browser that opens the page again must not show its old copy: it has no tag to ask with.
    assert "ETag" not in page.headers
    assert client.get(f"/jobs/{running}", headers={"If-None-Match": tag}).status_code == 304
    other = client.get(f"/jobs/{running}?sort=std", headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert shown_tag(other) != tag


def test_the_list_of_jobs_is_news_when_a_job_of_it_changes(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, running: int
) -> None:
    headers = {"If-None-Match": shown_tag(client.get("/"))}
    assert client.get("/", headers=headers).status_code == 304
    with database.write() as tx:
        one_shard(progress=2)(tx, running)
    page = client.get("/", headers=headers)
    assert page.status_code == 200
    headers = {"If-None-Match": shown_tag(page)}
    seeding.seed_job(database, state="queued")
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/?phase=x", headers=headers).status_code == 400


def test_what_is_not_there_is_not_unchanged(client: FlaskClient, app: Flask) -> None:
    answer = client.get("/api/v1/jobs/7")
    assert answer.status_code == 404
    assert "ETag" not in answer.headers
    assert client.get("/jobs/7").status_code == 404


def test_a_job_that_waits_for_the_hub_says_so(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    queued = seeding.seed_job(database, state="queued")
    with database.write() as tx:
        wait = {"plan_tries": 2, "plan_at": 1_700_000_000.0, "error": "The hub does not answer."}
        tx.execute(update(JOB).values(**wait))
    words = "waiting for the hub, next try at 22:13:20 UTC (2 of 12 failed)"
    assert client.get(f"/api/v1/jobs/{queued}").json["waiting"] == words
    page = client.get(f"/jobs/{queued}").text
    assert f"It is {words}. The hub does not answer." in page
    assert words in client.get("/").text
