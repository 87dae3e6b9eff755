"""The SQL console's page. What a query may do is tested with `db.console.console`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

import db.console.console
from db.console.console import Console
from db.console.turns import TurnLimits, Turns
from db.database import Database
from jobs.settings import load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from webui import context
from webui.pages.saved_queries import SAVED


@pytest.fixture
def client(tmp_path: Path, seeding: SimpleNamespace) -> Iterator[FlaskClient]:
    """A client on SQLite with a job; on PostgreSQL the console needs a role of its own."""
    settings = load_settings({}, home=tmp_path, sql_rows=5)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seeding.seed_job(database)
    app = new_app(settings)
    yield app.test_client()
    app.extensions["headwise"].database.close()


def test_saved_queries_run_on_both_databases(database: Database, seeding: SimpleNamespace) -> None:
    seeding.seed_job(database)
    with database.read() as tx:
        for name, query in SAVED:
            rows = tx.run(query).all()
            assert rows or "high and whose importance is low" in name


def test_a_saved_query_is_a_link_that_runs(client: FlaskClient) -> None:
    page = client.get("/sql").text
    assert page.count('href="/sql?q=') == len(SAVED) >= 8
    assert "head_importance" in page
    shown = client.get("/sql", query_string={"q": "SELECT rank, layer FROM head_importance"}).text
    assert "cut at the row limit" in shown
    assert shown.count("<tr>") == 6
    assert "null" in client.get("/sql?q=SELECT+NULL+AS+x").text
    assert "No rows" in client.get("/sql?q=SELECT+1+WHERE+1=0").text


def test_a_short_query_gets_an_address(client: FlaskClient) -> None:
    answer = client.post("/sql", data={"q": "SELECT 1 AS één"})
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.location).query) == {"q": ["SELECT 1 AS één"]}
    long = client.post("/sql", data={"q": "SELECT 1 AS x" + " " * 4000})
    assert long.status_code == 200
    assert "1 row in" in long.text


@pytest.mark.parametrize(
    "query", ["SELEC 1", "DELETE FROM jobs", "SELECT * FROM job", "SELECT nothing FROM jobs"]
)
def test_a_bad_query_is_explained(client: FlaskClient, query: str) -> None:
    page = client.get("/sql", query_string={"q": query})
    assert page.status_code == 400
    assert 'role="alert"' in page.text
    assert 'aria-invalid="true"' in page.text
    assert client.get("/sql.csv", query_string={"q": query}).status_code == 400


def test_another_site_cannot_run_queries(client: FlaskClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    page = client.get("/sql?q=SELECT+7+AS+lucky", headers=foreign)
    assert page.status_code == 200
    assert "Press Run" in page.text
    sent = client.get("/sql.csv?q=SELECT+7", headers=foreign)
    assert (sent.status_code, sent.location) == (303, "/sql?q=SELECT+7")
    assert client.post("/sql", data={"q": "SELECT 7"}, headers=foreign).status_code == 403


def test_csv(client: FlaskClient) -> None:
    answer = client.post("/sql.csv", data={"q": "SELECT rank FROM head_importance ORDER BY rank"})
    assert answer.mimetype == "text/csv"
    assert answer.text.split()[:3] == ["rank", "1", "2"]


def test_an_error_of_a_download_is_told_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = Console._request

    def counted(self: Console, sql: str, **limits: int) -> dict[str, Any]:
        asked.append(sql)
        return request(self, sql, **limits)

    monkeypatch.setattr(Console, "_request", counted)
    page = client.get("/sql.csv?q=SELECT+nothing+FROM+jobs")
    assert (page.status_code, page.mimetype, len(asked)) == (400, "text/html", 1)
    assert "nothing" in page.text
    answer = client.get(
        "/sql.csv?q=SELECT+nothing+FROM+jobs", headers={"Accept": "application/json"}
    )
    assert (answer.status_code, answer.mimetype, len(asked)) == (400, "application/json", 2)
    assert answer.json is not None
    assert answer.json["problems"][0]["field"] == "sql"


def test_a_busy_console_says_when_to_come_back(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = TurnLimits(running=0, running_per_client=0, waiting=0, waiting_per_client=0)
    monkeypatch.setattr(db.console.console, "_turns", Turns(nobody))
    for path in ("/sql?q=SELECT+1", "/sql.csv?q=SELECT+1"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "busy" in answer.text


def test_clients_are_told_apart(client: FlaskClient) -> None:
    app = client.application
    login = {"Authorization": "Basic " + b64encode(b"ada:secret").decode()}
    for address, headers, name in (
        ("192.0.2.7", {}, "192.0.2.7"),
        ("192.0.2.7", login, "192.0.2.7"),  # no proxy: anybody can write a name
        ("2001:db8::1", {}, "2001:db8::/64"),
        ("2001:db8::2", {}, "2001:db8::/64"),
    ):
        with app.test_request_context(environ_base={"REMOTE_ADDR": address}, headers=headers):
            assert context.client() == name
    context_of = app.extensions["headwise"]
    behind = context_of.settings.model_copy(update={"trusted_hosts": "headwise.example.org"})
    app.extensions["headwise"] = replace(context_of, settings=behind)
    with app.test_request_context(environ_base={"REMOTE_ADDR": "127.0.0.1"}, headers=login):
        assert context.client() == "ada@127.0.0.1"


def test_a_long_cell_and_a_long_result_are_cut(client: FlaskClient) -> None:
    long = "hex(hex(hex(hex(hex(hex(hex(hex(hex(hex('abcdef'))))))))))"
    page = client.get("/sql", query_string={"q": f"SELECT {long} AS x"}).text
    assert "…" in page
    assert len(page) < 60_000
