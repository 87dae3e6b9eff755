"""The SQL console's page. What a query may do is tested with `db.console.console`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from db.database import Database
from jobs.settings import load_settings
from tests.helpers.databases import sqlite_database
from webui.app import create_app
from webui.pages.saved_queries import SAVED


@pytest.fixture
def client(tmp_path: Path, seeding: SimpleNamespace) -> Iterator[FlaskClient]:
    """A client on SQLite with a job; on PostgreSQL the console needs a role of its own."""
    settings = load_settings({}, home=tmp_path, sql_rows=5)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seeding.seed_job(database)
    app = create_app(settings)
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
    assert client.get("/sql.csv?q=SELECT+7", headers=foreign).mimetype == "text/html"
    assert client.post("/sql", data={"q": "SELECT 7"}, headers=foreign).status_code == 403


def test_csv(client: FlaskClient) -> None:
    answer = client.post("/sql.csv", data={"q": "SELECT rank FROM head_importance ORDER BY rank"})
    assert answer.mimetype == "text/csv"
    assert answer.text.split()[:3] == ["rank", "1", "2"]
