"""Requests with an idempotency key are carried out once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from db.ops import replies
from jobs.errors import UnavailableError
from tests.webui.api.answers import problems
from webui.contract.operations import OPERATIONS

KEY = {"Idempotency-Key": "0b8e6a5e-1"}


@pytest.fixture
def recurring(submission: dict[str, Any]) -> dict[str, Any]:
    """A recurring job, of which the same may be there twice."""
    return {"cron": "30 2 * * *", "submission": submission}


def count(client: FlaskClient) -> int:
    return len(client.get("/api/v1/recurring").json["recurring"])


def test_the_answer_is_kept(client: FlaskClient, recurring: dict[str, Any]) -> None:
    first = client.post("/api/v1/recurring", json=recurring, headers=KEY)
    again = client.post("/api/v1/recurring", json=recurring, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(client) == 1
    assert client.post("/api/v1/recurring", json=recurring).status_code == 201
    assert count(client) == 2


def test_a_key_is_of_one_request(client: FlaskClient, recurring: dict[str, Any]) -> None:
    client.post("/api/v1/recurring", json=recurring, headers=KEY)
    other = {**recurring, "cron": "0 3 * * *"}
    (problem,) = problems(client.post("/api/v1/recurring", json=other, headers=KEY), 422)
    assert (problem["field"], problem["value"]) == ("Idempotency-Key", KEY["Idempotency-Key"])
    problems(client.post("/api/v1/studies", json=recurring, headers=KEY), 422)
    assert count(client) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "é"])
def test_what_is_no_key(client: FlaskClient, recurring: dict[str, Any], key: str) -> None:
    headers = {"Idempotency-Key": key}
    (problem,) = problems(client.post("/api/v1/recurring", json=recurring, headers=headers), 400)
    assert problem["field"] == "Idempotency-Key"
    assert count(client) == 0


def test_a_refused_request_gives_its_key_back(
    client: FlaskClient, recurring: dict[str, Any]
) -> None:
    wrong = {**recurring, "cron": "never"}
    problems(client.post("/api/v1/recurring", json=wrong, headers=KEY), 400)
    assert client.post("/api/v1/recurring", json=recurring, headers=KEY).status_code == 201


def test_requests_at_the_same_time_are_carried_out_once(
    app: Flask, client: FlaskClient, recurring: dict[str, Any]
) -> None:
    ready = Barrier(4)

    def send(_: int) -> int:
        ready.wait(30)
        return app.test_client().post("/api/v1/recurring", json=recurring, headers=KEY).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(send, range(4)))
    assert statuses[0] == 201
    assert set(statuses) <= {201, 409}
    assert count(client) == 1
    assert client.post("/api/v1/recurring", json=recurring, headers=KEY).status_code == 201


def test_meanwhile_the_others_are_told_to_wait(
    app: Flask, client: FlaskClient, recurring: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = Event(), Event()
    from webui.api import recurring as views

    add = views.add

    def slow(*args: Any) -> int:
        entered.set()
        assert go_on.wait(60)
        return add(*args)

    monkeypatch.setattr(views, "add", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            lambda: app.test_client().post("/api/v1/recurring", json=recurring, headers=KEY)
        )
        assert entered.wait(60)
        problems(client.post("/api/v1/recurring", json=recurring, headers=KEY), 409)
        go_on.set()
        assert first.result().status_code == 201
    assert count(client) == 1


def test_a_key_expires(client: FlaskClient, database: Database, recurring: dict[str, Any]) -> None:
    client.post("/api/v1/recurring", json=recurring, headers=KEY)
    with database.write() as tx:
        old = tx.now() - replies.KEPT_SECONDS - 1
        tx.execute(update(schema.reply).values(created_at=old))
    assert client.post("/api/v1/recurring", json=recurring, headers=KEY).status_code == 201
    assert count(client) == 2


def test_where_nobody_knows_what_was_done_nothing_is_done_again(
    client: FlaskClient,
    recurring: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*_: object) -> None:
        raise UnavailableError("the connection was lost")

    monkeypatch.setattr(replies, "keep", lost)
    assert client.post("/api/v1/recurring", json=recurring, headers=KEY).status_code == 503
    monkeypatch.undo()
    problems(client.post("/api/v1/recurring", json=recurring, headers=KEY), 409)
    assert count(client) == 1


def test_uploads_are_known_by_their_content(empty: SimpleNamespace) -> None:
    def send(content: bytes) -> Any:
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
        body = head.encode() + content + b"\r\n--x--\r\n"
        return empty.client.post(
            "/api/v1/uploads",
            data=body,
            content_type="multipart/form-data; boundary=x",
            headers=KEY,
        )

    first, again = send(b'{"text": "one"}\n'), send(b'{"text": "one"}\n')
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json["path"] == first.json["path"]
    problems(send(b'{"text": "two"}\n'), 422)


CREATES_NOTHING = {
    *("check_job", "check", "preview_file"),
    *("run_sql", "explain_sql", "run_sql_as_csv", "run_sql_as_json", "run_sql_as_parquet"),
    *("control_job", "control", "control_recurring"),
}
"""Operations that only answer, or ask for a state: sent twice, they do the same as once."""


def test_whatever_creates_something_takes_a_key(app: Flask) -> None:
    posts = {
        app.view_functions[rule.endpoint].__name__: OPERATIONS[app.view_functions[rule.endpoint]]
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and app.view_functions[rule.endpoint] in OPERATIONS
    }
    assert {name for name, one in posts.items() if not one.creates} == CREATES_NOTHING
