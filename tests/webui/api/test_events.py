"""The event stream: progress while the job runs, and an end when it is final."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from webui.api import events


@pytest.fixture(autouse=True)
def _every_stream_is_given_back() -> Iterator[None]:
    yield
    for _ in range(events.MOST_STREAMS):
        assert events._free.acquire(blocking=False)
    events._free.release(events.MOST_STREAMS)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL_SECONDS", 0.01)


@pytest.fixture
def queued(database: Database, seeding: SimpleNamespace) -> int:
    """A queued job: nothing in it moves with the clock."""
    return int(seeding.seed_job(database, state="queued"))


def parse(chunk: bytes) -> tuple[str, Any]:
    """Name and data of one event."""
    lines = dict(line.split(": ", 1) for line in chunk.decode().strip().splitlines())
    return lines.get("event", ""), json.loads(lines["data"]) if "data" in lines else None


def test_a_final_job_ends_at_once(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    answer = client.get(f"/jobs/{job}/events", buffered=True)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    parts = answer.data.strip().split(b"\n\n")
    assert parts[0] == b"retry: 3000"
    name, news = parse(parts[1])
    assert (name, news["final"], news["examples_done"]) == ("progress", True, 12)
    assert parse(parts[2])[0] == "end"


def test_news_until_the_end(
    client: FlaskClient, database: Database, queued: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUIET_SECONDS", 0.02)
    answer = client.get(f"/jobs/{queued}/events", buffered=False)
    stream = iter(answer.response)
    next(stream)
    assert parse(next(stream))[1]["state"] == "queued"
    assert next(stream) == b": still here\n\n"
    with database.write() as tx:
        tx.execute(update(schema.job).values(state="cancelled"))
    told = [part for part in stream if not part.startswith(b":")]
    assert [parse(part)[0] for part in told] == ["progress", "end"]
    assert parse(told[0])[1]["state"] == "cancelled"
    answer.close()


def test_streams_are_limited_and_given_back(client: FlaskClient, queued: int) -> None:
    for _ in range(2):
        open_ones = [client.get(f"/jobs/{queued}/events") for _ in range(events.MOST_STREAMS)]
        assert client.get(f"/jobs/{queued}/events").status_code == 503
        for answer in open_ones:
            answer.close()


def test_a_stream_does_not_last_for_ever(
    client: FlaskClient, queued: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST_SECONDS", 0.05)
    with client.get(f"/jobs/{queued}/events") as answer:
        assert b"event: end" not in answer.data


def test_a_deleted_job_ends_the_stream(
    client: FlaskClient, database: Database, queued: int
) -> None:
    answer = client.get(f"/jobs/{queued}/events", buffered=False)
    stream = iter(answer.response)
    next(stream)
    next(stream)
    with database.write() as tx:
        tx.execute(schema.job.delete())
    assert b"event: end" not in b"".join(stream)
    answer.close()


def test_a_job_that_waits_for_the_hub_says_so(
    client: FlaskClient, database: Database, queued: int
) -> None:
    with database.write() as tx:
        wait = {"plan_tries": 2, "plan_at": 1_700_000_000.0, "error": "The hub does not answer."}
        tx.execute(update(schema.job).values(**wait))
    words = "waiting for the hub, next try at 22:13:20 UTC (2 of 12 failed)"
    with client.get(f"/jobs/{queued}/events", buffered=False) as answer:
        stream = iter(answer.response)
        next(stream)
        assert parse(next(stream))[1]["waiting"] == words
    page = client.get(f"/jobs/{queued}").text
    assert f"This job is {words}. The hub does not answer." in page
    assert words in client.get("/").text
