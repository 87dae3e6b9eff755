"""sql, export and schema."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db.database import Database
from db.ops import job_sizes
from db.results import export as exports
from db.views import VIEWS, schema_page
from db.views.kinds import KIND_VIEWS
from jobs.settings import load_settings, settings_page
from tests.cli.conftest import Headwise, finished_job
from tests.helpers.apps import new_app


def test_sql_as_table_json_and_csv(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    query = "SELECT rank, layer, head FROM head_importance ORDER BY rank LIMIT 2"
    assert headwise("sql", query, "--json").json == [
        {"rank": 1, "layer": 1, "head": 2},
        {"rank": 2, "layer": 1, "head": 1},
    ]
    # As --help says, and RFC 4180.
    assert headwise("sql", query, "--csv").out == "rank,layer,head\r\n1,1,2\r\n2,1,1\r\n"
    assert "lines end in CR LF" in headwise("sql", "--help").out
    assert "lines end in CR LF" in headwise("export", "--help").out
    assert [line.split() for line in headwise("sql", query).out.splitlines()] == [
        ["rank", "layer", "head"],
        ["1", "1", "2"],
        ["2", "1", "1"],
    ]


def test_sql_shows_texts_as_they_are(headwise: Headwise) -> None:
    ran = headwise("sql", "SELECT '[/b] [unused1] :cat:' AS token, NULL AS missing")
    assert ran.status == 0
    assert "[/b] [unused1] :cat:" in ran.out


@pytest.mark.parametrize("other", [("--json",), ("--csv",), ("--to", "rows.csv")])
def test_sql_has_one_form(headwise: Headwise, other: tuple[str, ...]) -> None:
    ran = headwise("sql", "SELECT 1", "--explain", *other)
    assert (ran.status, ran.out) == (2, "")
    assert f"{other[0]}: cannot be combined with --explain" in ran.err
    assert headwise("sql", "SELECT 1", "--json", "--csv").status == 2


def test_sql_reads_standard_input(headwise: Headwise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 7 AS seven"))
    assert headwise("sql", "-", "--json").json == [{"seven": 7}]


def test_sql_says_when_rows_are_left_out(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, store: Database
) -> None:
    finished_job(store)
    monkeypatch.setenv("HEADWISE_SQL_ROWS", "5")
    ran = headwise("sql", "SELECT example, layer, head FROM head_scores")
    assert "Only the first 5 rows; --to FILE or --csv gives all of them." in ran.out
    ran = headwise("sql", "SELECT example, layer, head FROM head_scores", "--csv")
    assert len(ran.out.splitlines()) == 1 + 36


def test_sql_prints_bytes_as_hexadecimal_digits(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    assert json.loads(headwise("sql", "SELECT x'00ff' AS a", "--json").out) == [{"a": "00ff"}]
    assert headwise("sql", "SELECT x'00ff' AS a", "--csv").out == "a\r\n00ff\r\n"
    assert headwise("sql", "SELECT x'00ff' AS a").out.split() == ["a", "00ff"]


def test_export_to_the_terminal_is_csv(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    lines = list(csv.DictReader(io.StringIO(headwise("export", "1").out)))
    assert len(lines) == 6
    assert {line["job_id"] for line in lines} == {"1"}
    assert sorted(line["rank"] for line in lines) == ["1", "2", "3", "4", "5", "6"]


# An attribution job has no rows in the views of other kinds, and needs no other job; nobody has
# logged anything here.
OTHERS = {"job_parents", "log_lines"} | {view.name for view in KIND_VIEWS}
PER_JOB = [name for name in exports.EXPORTED if name not in OTHERS - {"importances"}]


@pytest.mark.parametrize("view", PER_JOB)
def test_every_format_holds_the_same_rows(
    headwise: Headwise,
    store: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    view: str,
) -> None:
    """In parts of two rows, where the first ones have nothing in some columns."""
    monkeypatch.setattr(exports, "CHUNK", 2)
    finished_job(store)
    finished_job(store, failed=frozenset({4}))
    job_sizes.measure(store, 60)
    for suffix in ("csv", "jsonl", "parquet"):
        ran = headwise("export", "2", "--table", view, "--to", f"rows.{suffix}")
        assert (ran.status, ran.out, ran.err) == (0, "", "")
    columns = [column.name for column in next(v for v in VIEWS if v.name == view).columns]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "rows.parquet")
    with (tmp_path / "rows.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert table.column_names == columns
    assert table.to_pylist() == lines
    assert [list(row) for row in cells] == [columns] * len(lines)
    words = {None: "", True: "true", False: "false"}
    assert [
        [words[v] if v is None or isinstance(v, bool) else str(v) for v in row.values()]
        for row in lines
    ] == [list(row.values()) for row in cells]
    with store.read() as tx:
        count = tx.run(f"SELECT COUNT(*) FROM {view} WHERE job_id = 2").scalar()
    assert len(lines) == count


@pytest.mark.parametrize("view", sorted({view.name for view in VIEWS} - set(exports.EXPORTED)))
def test_views_of_the_installation_are_not_exported_for_a_job(
    headwise: Headwise, store: Database, view: str
) -> None:
    finished_job(store)
    ran = headwise("export", "1", "--table", view)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(
        f"headwise: --table: is not a published view with rows per job (given: '{view}')."
    )


def test_parquet_columns_have_the_published_types(
    headwise: Headwise, store: Database, tmp_path: Path
) -> None:
    finished_job(store)
    headwise("export", "1", "--table", "examples", "--to", "rows.parquet")
    schema = pq.read_schema(tmp_path / "rows.parquet")
    assert schema.field("error").type == pa.string()
    assert schema.field("truncated").type == pa.bool_()
    assert schema.field("example").type == pa.int64()


def test_export_says_what_it_cannot_write(
    headwise: Headwise, store: Database, tmp_path: Path
) -> None:
    (tmp_path / "folder.csv").mkdir()
    finished_job(store)
    ran = headwise("export", "1", "--to", "folder.csv")
    assert ran.status == 2
    assert "--to: cannot be written" in ran.err
    assert ran.err.count("\n") == 1


def test_schema_prints_the_generated_pages(headwise: Headwise) -> None:
    assert headwise("schema").out == schema_page()
    assert headwise("schema", "--settings").out == settings_page()


@pytest.mark.parametrize("table", ["examples", "head_importance", "jobs", "completeness"])
def test_pages_and_commands_write_the_same_bytes(
    headwise: Headwise, store: Database, tmp_path: Path, table: str
) -> None:
    job = finished_job(store, failed=frozenset({4}))
    with store.write() as tx:
        tx.run("UPDATE job SET name = '=1+1'")
        tx.run("UPDATE example SET text_a = '@a,\rb', text_b = '-2'")
    headwise("export", str(job), "--table", table, "--to", "rows.csv")
    client = new_app(load_settings()).test_client()
    page = client.get(f"/jobs/{job}/export/{table}.csv").data
    assert (tmp_path / "rows.csv").read_bytes() == page
    assert headwise("export", str(job), "--table", table).out.encode() == page
    query = f"SELECT * FROM {table} WHERE job_id = {job}"
    assert client.get("/sql.csv", query_string={"q": query}).data == (
        headwise("sql", query, "--csv").out.encode()
    )
    if table in ("head_importance", "jobs"):  # no booleans, which SQLite does not have
        assert client.get("/sql.csv", query_string={"q": query}).data == page
    formulas = {"examples": b',"\'@a,\rb",-2,', "jobs": b",'=1+1,", "completeness": b",true"}
    assert formulas.get(table, b"") in page
