"""The JSON API: what it answers, and that every error names field, value and remedy."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from jobs.settings import Settings
from tests.helpers.apps import new_app
from tests.webui.api.answers import problems
from webui.contract import cursors


def change(submission: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The submission with one value changed."""
    copy = json.loads(json.dumps(submission))
    *parents, last = path.split(".")
    at = copy
    for name in parents:
        at = at[name]
    at[last] = value
    return copy


def multipart(field: str, content: bytes, name: str) -> dict[str, Any]:
    """A form with one file, as the body of a request."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--x--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=x"}


def test_submit_watch_and_control(client: FlaskClient, submission: dict[str, Any]) -> None:
    checked = client.post("/api/v1/check", json=submission)
    assert checked.status_code == 200
    assert checked.json["estimate"]["examples"] == 3
    assert checked.json["model"]["labels"] == ["no", "yes"]
    none = {"phase": {}, "kind": {}, "user": {}, "model": {}, "quick": 0, "others": 0}
    answer = client.get("/api/v1/jobs").json
    assert answer == {"next": None, "jobs": [], "total": 0, "facets": none}

    created = client.post("/api/v1/jobs", json=submission)
    assert created.status_code == 201
    job = created.json["job"]["id"]
    assert created.json["job"]["understood"] == checked.json["understood"]
    assert checked.json["understood"]["sentences"][0] == "JSON lines, 3 rows."
    assert created.json["job"]["warning"] is None
    again = client.post("/api/v1/jobs", json=submission)
    assert (again.status_code, again.json["job"]["id"]) == (200, job)
    assert client.post("/api/v1/check", json=submission).json["existing_job"] == job

    listed = client.get("/api/v1/jobs?state=queued").json
    assert [one["name"] for one in listed["jobs"]] == ["three rows"]
    assert client.get(f"/api/v1/jobs/{job}").json["text"]["state"] == "waiting for a scheduler"
    assert client.post(f"/api/v1/jobs/{job}/pause").json["control"] == "pause"
    assert client.post(f"/api/v1/jobs/{job}/resume").json["control"] == "run"
    problems(client.delete(f"/api/v1/jobs/{job}"), 409)
    assert client.post(f"/api/v1/jobs/{job}/cancel").json["state"] == "cancelling"
    problems(client.post(f"/api/v1/jobs/{job}/pause"), 409)


def test_results(client: FlaskClient, database: Database, seeding: SimpleNamespace) -> None:
    job = seeding.seed_job(database)
    seeding.seed_worker(database, "w", silent=1000)
    heads = client.get(f"/api/v1/jobs/{job}/heads").json
    assert [head["rank"] for head in heads["heads"]] == list(range(1, 51))
    assert (heads["total"], heads["provisional"]) == (72, False)
    rest = client.get(heads["next"]).json
    assert [head["rank"] for head in rest["heads"]] == list(range(51, 73))
    assert rest["next"] is None
    first = client.get(f"/api/v1/jobs/{job}/examples?limit=5").json
    assert [one["example"] for one in first["examples"]] == [0, 1, 2, 3, 4]
    rest = client.get(f"/api/v1/jobs/{job}/examples?after={first['next_after']}").json
    assert [one["example"] for one in rest["examples"]] == list(range(5, 12))
    assert rest["next_after"] is None
    one = client.get(f"/api/v1/jobs/{job}/examples/0").json
    assert len(one["heads"]) == 72
    assert len(one["edges"]) == 16
    assert len(one["token_attribution"]) == len(one["completeness"]) == 6
    assert client.get(f"/api/v1/jobs/{job}/shards").json["shards"][1]["attempts"][0]["error"]
    assert client.get("/api/v1/workers").json["workers"][0]["alive"] is False
    assert client.delete(f"/api/v1/jobs/{job}").json == {"deleted": job}
    problems(client.get(f"/api/v1/jobs/{job}"), 404)


def test_heads_have_pages(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    address = f"/api/v1/jobs/{seeding.seed_job(database)}/heads"
    whole = client.get(f"{address}?limit=500").json["heads"]
    found: list[Any] = []
    following: str | None = f"{address}?limit=35"
    while following:
        answer = client.get(following)
        found += answer.json["heads"]
        assert answer.json["total"] == len(whole) == 72
        following = answer.json["next"]
        assert len(found) in (35, 70, 72)
        assert ('rel="next"' in answer.headers.get("Link", "")) is bool(following)
    assert found == whole
    beyond = client.get(f"{address}?cursor={cursors.encode(5000)}").json
    assert (beyond["heads"], beyond["next"]) == ([], None)
    problems(client.get(f"{address}?cursor=x"), 400)
    problems(client.get(f"{address}?limit=501"), 400)


def test_provisional_importance_is_the_final_one(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    final = seeding.seed_job(database, shard_size=3)
    running = seeding.seed_job(database, shard_size=3, state="running")
    heads = [client.get(f"/api/v1/jobs/{job}/heads").json for job in (final, running)]
    assert [one["provisional"] for one in heads] == [False, True]
    for a, b in zip(heads[0]["heads"], heads[1]["heads"], strict=True):
        assert (a["layer"], a["head"], a["n"]) == (b["layer"], b["head"], b["n"])
        assert a["mean"] == pytest.approx(b["mean"])
        assert a["low"] == pytest.approx(b["low"])


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("spec.model.name", "", "model.name"),
        ("spec.model.name", "no such model!", "model.name"),
        ("spec.model.name", "/etc", "model.name"),
        ("spec.data.path", "/etc/passwd", "data.path"),
        ("spec.data.path", "missing.jsonl", "data.path"),
        ("spec.data.text_columns", ["txet"], "data.text_columns"),
        ("spec.data.text_columns", [], "data.text_columns"),
        ("spec.data.label_column", "text", "data.label_column"),
        ("spec.data.limit", 0, "data.limit"),
        ("spec.data.limit", -5, "data.limit"),
        ("spec.data.limit", 10**30, "data.limit"),
        ("spec.data.offset", 3, "data.offset"),
        ("spec.rtol", 0, "rtol"),
        ("spec.rtol", "NaN", "rtol"),
        ("spec.integration", "simpson:4", "integration"),
        ("spec.target", "maybe", "target"),
        ("spec.max_length", 65, "max_length"),
        ("spec.dtype", "int8", "dtype"),
        ("spec.tolerance", 1, "tolerance"),
        ("spec", [], "spec"),
        ("name", "x" * 201, "name"),
        ("priority", 1000, "priority"),
        ("queue", "Über", "queue"),
    ],
)
def test_bad_submissions_are_named_and_leave_nothing(
    empty: SimpleNamespace, path: str, value: object, field: str
) -> None:
    bad = change(empty.submission, path, value)
    for address in ("/api/v1/check", "/api/v1/jobs"):
        found = problems(empty.client.post(address, json=bad), 400)
        assert field in [problem["field"] for problem in found]
    assert empty.client.get("/api/v1/jobs").json["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "\\u0000"}',
        b'{"name": "\\ud800"}',
        b"1" * 5000,
    ],
)
def test_bodies_that_are_no_submission(empty: SimpleNamespace, body: bytes) -> None:
    for address in ("/api/v1/check", "/api/v1/jobs", "/api/v1/preview"):
        problems(empty.client.post(address, data=body, content_type="application/json"), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs?limit=0",
        "/api/v1/jobs?limit=501",
        "/api/v1/jobs?limit=x",
        "/api/v1/jobs?offset=-1",
        "/api/v1/jobs?state=lost",
        "/api/v1/jobs?offset=99999999999999999999",
    ],
)
def test_bad_parameters(empty: SimpleNamespace, path: str) -> None:
    problem = problems(empty.client.get(path), 400)[0]
    assert problem["field"] in path
    assert problem["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/jobs/1", 404),
        ("GET", "/api/v1/jobs/99999999999999999999", 404),
        ("GET", "/api/v1/jobs/1/heads", 404),
        ("GET", "/api/v1/jobs/1/examples", 404),
        ("GET", "/api/v1/jobs/1/examples/3", 404),
        ("GET", "/api/v1/jobs/1/shards", 404),
        ("POST", "/api/v1/jobs/1/pause", 404),
        ("POST", "/api/v1/jobs/1/explode", 404),
        ("POST", "/api/v1/jobs/1/delete", 404),
        ("DELETE", "/api/v1/jobs/1", 404),
        ("GET", "/api/v1/nothing", 404),
        ("PUT", "/api/v1/jobs", 405),
        ("POST", "/api/v1/uploads", 400),
    ],
)
def test_errors_are_json(empty: SimpleNamespace, method: str, path: str, status: int) -> None:
    problems(empty.client.open(path, method=method), status)


def test_method_not_allowed(empty: SimpleNamespace) -> None:
    answer = empty.client.put("/operations", headers={"Accept": "application/json"})
    problems(answer, 405)
    assert "GET" in answer.headers["Allow"]
    assert "Method Not Allowed" in empty.client.put("/operations").text


def test_upload_preview_and_limits(client: FlaskClient, settings: Settings) -> None:
    def send(content: bytes, name: str) -> Any:
        return client.post("/api/v1/uploads", **multipart("file", content, name))

    stored = send(b'{"text": "one"}\n{"text": "two"}\n', "rows.jsonl")
    assert stored.status_code == 201
    assert stored.json["columns"] == ["text"]
    assert stored.json["path"].startswith(str(settings.uploads))
    assert stored.json["name"] == "rows.jsonl"
    seen = client.post("/api/v1/preview", json={"path": stored.json["path"]})
    assert seen.json["rows"][1] == {"text": "two"}
    problems(client.post("/api/v1/preview", json={"path": "/etc/passwd"}), 400)
    problems(client.post("/api/v1/preview", json={"path": "none.csv"}), 400)
    problems(send(b"{}", "rows.exe"), 400)
    problems(send(b"\x00\x01", "rows.jsonl"), 400)
    problems(send(b"", "rows.jsonl"), 400)
    line = b'{"text": "' + b"x" * 990 + b'"}\n'
    problems(send(line * 1100, "rows.jsonl"), 400)
    big = problems(send(line * 2200, "rows.jsonl"), 413)
    assert "1 MB" in big[0]["message"]
    page = client.post("/jobs/new", **multipart("upload", line * 2200, "rows.jsonl"))
    assert page.status_code == 413
    assert "HEADWISE_UPLOAD_MEGABYTES" in page.text


def test_the_database_is_away(settings: Settings, tmp_path: Any) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/x"})
    app = new_app(gone)
    client = app.test_client()
    problem = problems(client.get("/api/v1/jobs"), 503)[0]
    assert "127.0.0.1:1" in problem["message"]
    page = client.get("/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "Database unavailable" in page.text
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    app.extensions["headwise"].database.close()


def test_a_bug_is_no_traceback(app: Flask, client: FlaskClient, monkeypatch: Any) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("db.reads.job_list.read_facets", broken)
    for path in ("/", "/api/v1/jobs"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text


def test_operators_pages(client: FlaskClient) -> None:
    assert client.get("/readyz").json["status"] == "ready"
    assert client.get("/healthz").json == {"status": "ok"}


def test_a_body_over_the_limit_names_it(empty: SimpleNamespace) -> None:
    body = b'"' + b"x" * (1 << 20) + b'"'
    for address in ("/api/v1/check", "/api/v1/jobs", "/api/v1/preview"):
        answer = empty.client.post(address, data=body, content_type="application/json")
        (problem,) = problems(answer, 413)
        assert "larger than the 1 MB" in problem["message"]
        assert problem["remedy"]
