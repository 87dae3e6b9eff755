"""The SQL console's page. What a query may do is tested with `db.console.console`."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

import db.console.console
from db.console.console import Console
from db.console.turns import TurnLimits, Turns
from jobs.settings import load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from webui.accounts import person
from webui.console.examples import EXAMPLES


@pytest.fixture
def client(tmp_path: Path, seeding: SimpleNamespace) -> Iterator[FlaskClient]:
    """A client on SQLite with a job; on PostgreSQL the console needs a role of its own."""
    settings = load_settings({}, home=tmp_path, sql_rows=5)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seeding.seed_job(database)
    app = new_app(settings)
    yield app.test_client()
    app.extensions["headwise"].database.close()


def test_an_example_is_a_link_that_runs(client: FlaskClient) -> None:
    page = client.get("/sql").text
    assert page.count('href="/sql?q=') == len(EXAMPLES)
    for example in EXAMPLES:
        assert html.escape(example.about, quote=False) in page.replace("&#39;", "'")
    assert "head_importance" in page
    shown = client.get("/sql", query_string={"q": "SELECT rank, layer FROM head_importance"}).text
    assert "cut at the row limit" in shown
    assert shown.count("<tr>") == 6  # and its heading
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


def test_files(client: FlaskClient) -> None:
    data = {"q": "SELECT rank FROM head_importance ORDER BY rank", "sort": "-1"}
    answer = client.post("/sql.csv", data=data)
    assert answer.mimetype == "text/csv"
    assert answer.text.split()[:3] == ["rank", "72", "71"]
    assert client.post("/sql.json", data=data).json[71] == {"rank": 1}  # type: ignore[index]
    table = pq.read_table(io.BytesIO(client.post("/sql.parquet", data=data).data))
    assert table["rank"].to_pylist() == list(range(72, 0, -1))
    assert client.get("/sql.xlsx?q=SELECT+1").status_code == 404


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
    assert (answer.status_code, answer.mimetype, len(asked)) == (400, "application/problem+json", 2)
    assert answer.json is not None
    assert answer.json["problems"][0]["field"] == "sql"


def test_a_busy_console_says_when_to_come_back(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = TurnLimits(running=0, running_per_client=0, waiting=0, waiting_per_client=0)
    monkeypatch.setattr(db.console.console, "_turns", Turns(nobody))
    for path in ("/sql?q=SELECT+1", "/sql.csv?q=SELECT+1", "/sql/cell?q=SELECT+1&cell=0.0"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "busy" in answer.text
        assert "Database unavailable" not in answer.text


def test_clients_are_told_apart(client: FlaskClient) -> None:
    app = client.application
    forwarded = {"X-Forwarded-For": "198.51.100.4"}
    for address, headers, name in (
        ("192.0.2.7", {}, "192.0.2.7"),
        ("192.0.2.7", forwarded, "192.0.2.7"),  # no proxy: anybody can write an address
        ("2001:db8::1", {}, "2001:db8::/64"),
        ("2001:db8::2", {}, "2001:db8::/64"),
    ):
        with app.test_request_context(environ_base={"REMOTE_ADDR": address}, headers=headers):
            assert person.client() == name
    context_of = app.extensions["headwise"]
    behind = context_of.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    app.extensions["headwise"] = replace(context_of, settings=behind)
    with app.test_request_context(environ_base={"REMOTE_ADDR": "127.0.0.1"}, headers=forwarded):
        assert person.client() == "198.51.100.4"


LONG = "hex(hex(hex(hex(hex(hex(hex(hex(hex(hex('abcdef'))))))))))"


def test_a_long_cell_is_cut_and_shown_whole_on_a_page_of_its_own(client: FlaskClient) -> None:
    data = {"q": f"SELECT 1 AS n, {LONG} AS x UNION ALL SELECT 2, 'b' || {LONG}"}
    page = client.get("/sql", query_string=data).text
    assert 'value="1.1" data-cut' in page
    assert len(page) < 70_000
    whole = client.get("/sql/cell", query_string={**data, "cell": "1.1"}).text
    value = "abcdef"
    for _ in range(10):
        value = value.encode().hex().upper()
    assert f"b{value}<" in whole
    again = client.get("/sql/cell", query_string={**data, "cell": "0.1", "sort": "-1"}).text
    assert ">b3" in again
    assert client.get("/sql/cell", query_string={**data, "cell": "2.1"}).status_code == 404
    for cell in ("0.2", "x", "1", "-1.0"):
        assert client.get("/sql/cell", query_string={**data, "cell": cell}).status_code == 400


def test_a_cell_with_json_is_readable(client: FlaskClient) -> None:
    data = {"q": """SELECT '{"a": [1, "é"]}' AS x""", "cell": "0.0"}
    assert "&#34;é&#34;\n" in client.get("/sql/cell", query_string=data).text


def test_another_site_cannot_read_a_cell(client: FlaskClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    answer = client.get("/sql/cell?q=SELECT+7&cell=0.0", headers=foreign)
    assert (answer.status_code, answer.location) == (303, "/sql?q=SELECT+7")


QUOTES = "SELECT '" + '"' * 300 + "' AS t"


def test_no_page_is_large(tmp_path: Path, seeding: SimpleNamespace) -> None:
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seeding.seed_job(database, examples=200)
    app = new_app(load_settings({}, home=tmp_path))
    client = app.test_client()
    wide = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 900) SELECT "
    quotes = wide + ", ".join(f"t AS c{n}" for n in range(90)) + f" FROM r, ({QUOTES})"
    for query in ("SELECT * FROM head_scores", "SELECT * FROM examples", quotes):
        page = client.get("/sql", query_string={"q": query}).text
        assert "Next rows" in page
        assert len(page.encode()) < 100_000
    app.extensions["headwise"].database.close()


def test_rows_are_shown_in_parts(client: FlaskClient) -> None:
    query = "SELECT rank, layer FROM head_importance ORDER BY rank"
    page = client.get("/sql", query_string={"q": query, "first": "4"}).text
    assert "Rows 4 to 5" in page
    assert "First rows" in page
    assert "Next rows" not in page  # the limit is 5 rows
    assert '<td class="num">4</td>' in page
    assert '<td class="num">3</td>' not in page
    assert "No more rows" in client.get("/sql", query_string={"q": query, "first": "6"}).text
    assert client.get("/sql", query_string={"q": query, "first": "0"}).status_code == 400


def test_columns_say_their_types_and_their_order(client: FlaskClient) -> None:
    query = (
        "SELECT 2 AS n, 'b' AS t, NULL AS void, 0.123456789 AS x UNION ALL SELECT 1, 'c', NULL, 1"
    )
    page = client.get("/sql", query_string={"q": query, "sort": "-2"}).text
    for kind in ("integer", "text", "null", "real"):
        assert f'<span class="type">{kind}</span>' in page
    assert page.index("<td>c</td>") < page.index("<td>b</td>")
    assert 'title="0.123456789">0.1234568</td>' in page
    assert page.count('aria-sort="descending"') == 1
    # The next click ends the order, that on another column begins with the smallest.
    assert 'name="sort" value="0">t<' in page
    assert 'name="sort" value="1">n<' in page
    assert "2 rows" in page


def test_a_long_query_keeps_its_order_without_an_address(client: FlaskClient) -> None:
    query = "SELECT 1 AS n UNION ALL SELECT 2" + " " * 4000
    page = client.post("/sql", data={"q": query, "sort": "-1"}).text
    assert page.index('<td class="num">2</td>') < page.index('<td class="num">1</td>')
    assert '<form id="sort-form" method="post"' in page


HEADS = "SELECT * FROM head_importance WHERE job_id = 1"


@pytest.fixture
def roomy(tmp_path: Path, seeding: SimpleNamespace) -> Iterator[FlaskClient]:
    """A client of a console without a small limit of rows."""
    database = sqlite_database(tmp_path / "headwise.sqlite")
    seeding.seed_job(database)
    app = new_app(load_settings({}, home=tmp_path))
    yield app.test_client()
    app.extensions["headwise"].database.close()


def test_a_result_offers_the_charts_that_it_allows(roomy: FlaskClient) -> None:
    page = roomy.get("/sql", query_string={"q": HEADS}).text
    assert page.count('name="chart" value=') == 5  # with none
    assert 'name="chart"' not in roomy.get("/sql?q=SELECT+'a'+AS+x").text
    assert "data-figure" not in page


def test_a_chart_is_at_an_address_of_its_own(roomy: FlaskClient) -> None:
    page = roomy.get("/sql", query_string={"q": HEADS, "chart": "heads", "y": "std"}).text
    [address] = re.findall(r'data-from="([^"]*)"', page)
    spec = roomy.get(html.unescape(address)).json
    assert spec is not None
    assert len(spec["data"]["values"]) == 72
    assert spec["encoding"]["color"]["field"] == "std"
    assert '<option value="std" selected>' in page
    for form, begin in (("csv", b"name,"), ("svg", b"<svg"), ("png", b"\x89PNG")):
        query = {"q": HEADS, "chart": "heads"}
        assert roomy.get(f"/sql/chart.{form}", query_string=query).data.startswith(begin)


def test_a_chart_can_be_without_colours(roomy: FlaskClient) -> None:
    query = {"q": "SELECT kind, layer, mean FROM head_importance UNION ALL SELECT 'x', 0, 1.0"}
    asked = {**query, "chart": "line", "x": "layer", "y": "mean"}
    plain = roomy.get("/sql/chart.json", query_string=asked).json
    assert plain is not None
    assert "color" not in plain["encoding"]
    coloured = roomy.get("/sql/chart.json", query_string={**asked, "series": "kind"}).json
    assert coloured is not None
    assert coloured["encoding"]["color"]["field"] == "kind"


def test_a_chart_of_a_part_says_so(client: FlaskClient) -> None:
    spec = client.get("/sql/chart.json", query_string={"q": HEADS, "chart": "heads"}).json
    assert spec is not None
    assert len(spec["data"]["values"]) == 5
    assert "Of the first 5 rows" in spec["usermeta"]["headwise"]["caption"]


@pytest.mark.parametrize(
    "asked",
    [
        {"chart": "pie"},
        {"chart": "heads", "y": "nothing"},
        {"chart": "line", "y": "kind"},
        {"chart": "line", "x": "nothing"},
        {"q": "SELECT 1 AS n", "chart": "line"},
    ],
)
def test_a_chart_that_there_is_not_is_explained(roomy: FlaskClient, asked: dict[str, str]) -> None:
    query = {"q": HEADS, **asked}
    assert roomy.get("/sql", query_string=query).status_code == 400
    answer = roomy.get("/sql/chart.json", query_string=query)
    assert answer.status_code == 400


def test_another_site_cannot_draw(roomy: FlaskClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    query = {"q": HEADS, "chart": "heads"}
    answer = roomy.get("/sql/chart.json", query_string=query, headers=foreign)
    assert answer.status_code == 303


def test_explain_shows_the_plan_and_no_rows(client: FlaskClient) -> None:
    sent = client.post("/sql", data={"q": "SELECT 12345 + job_id FROM jobs", "plan": "1"})
    page = client.get(sent.location).text
    assert "SCAN" in page
    assert "12346" not in page
    assert client.get("/sql?q=SELECT+*+FROM+job&plan=1").status_code == 400
