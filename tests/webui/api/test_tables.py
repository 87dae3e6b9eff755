"""Whole tables: Arrow and CSV streams, and SQL."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.results import export as exports
from jobs.settings import load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.webui.api.answers import problems
from tests.webui.seed import seed_job


@pytest.mark.parametrize("name", ["head_importance", "head_scores", "examples", "token_edges"])
def test_arrow_and_csv_have_the_same_rows(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(exports, "CHUNK", 7)
    other, job = seed_job(database, examples=4), seed_job(database, seed=1)
    arrow = client.get(f"/api/v1/jobs/{job}/tables/{name}.arrow")
    assert arrow.mimetype == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(arrow.data).read_all()
    columns = exports.EXPORTED[name].columns
    assert table.column_names == [column.name for column in columns]
    assert set(table["job_id"].to_pylist()) == {job}
    text = client.get(f"/api/v1/jobs/{job}/tables/{name}.csv").text
    header, *rows = csv.reader(io.StringIO(text))
    assert header == table.column_names
    assert len(rows) == len(table) > 7
    assert other != job
    kinds = {"integer": "int64", "real": "double", "text": "string", "boolean": "bool"}
    assert list(map(str, table.schema.types)) == [kinds[column.type] for column in columns]


def test_a_job_without_rows_has_an_empty_table(client: FlaskClient, database: Database) -> None:
    job = seed_job(database, done=0, state="running")
    answer = client.get(f"/api/v1/jobs/{job}/tables/head_scores.arrow")
    assert pa.ipc.open_stream(answer.data).read_all().num_rows == 0


def test_unknown_tables_and_jobs(client: FlaskClient, database: Database) -> None:
    job = seed_job(database)
    for form in ("arrow", "csv"):
        assert "head_scores" in str(
            problems(client.get(f"/api/v1/jobs/{job}/tables/score.{form}"), 404)
        )
        problems(client.get(f"/api/v1/jobs/99/tables/head_scores.{form}"), 404)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[FlaskClient]:
    """A client whose console needs no role of its own."""
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seed_job(database, name="mine")
    app = new_app(load_settings({}, home=tmp_path))
    yield app.test_client()
    app.extensions["headwise"].database.close()
    database.close()


def test_sql_answers_with_typed_rows(on_sqlite: FlaskClient) -> None:
    query = "SELECT job_id, name, NULL AS missing, 1.5 AS number FROM jobs"
    answer = on_sqlite.post("/api/v1/sql", json={"query": query})
    assert answer.status_code == 200, answer.text
    found = answer.json
    assert found["columns"] == ["job_id", "name", "missing", "number"]
    assert found["rows"] == [[1, "mine", None, 1.5]]
    assert found["cut_by"] is None
    some = on_sqlite.post(
        "/api/v1/sql", json={"query": "SELECT example FROM examples", "max_rows": 2}
    ).json
    assert (len(some["rows"]), some["cut_by"]) == (2, "rows")
    assert (
        on_sqlite.post("/api/v1/sql.csv", json={"query": query})
        .text.splitlines()[1]
        .startswith("1,mine,,1.5")
    )


def test_refused_queries_are_problems(on_sqlite: FlaskClient) -> None:
    for path in ("sql", "sql.csv"):
        for query in ("DELETE FROM job", "SELECT * FROM recipient", "SELECT", ""):
            found = problems(on_sqlite.post(f"/api/v1/{path}", json={"query": query}), 400)
            assert found[0]["field"] in ("query", "sql", "q")
