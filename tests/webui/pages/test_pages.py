"""Every page with and without data, with hostile texts, and what no page may do."""

from __future__ import annotations

import html
import re
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from db import schema
from db.database import Database
from jobs.inputs.data.understood import Understood
from jobs.states import SHOWN_JOB_STATES
from webui.contract import cursors

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
PAGES = ("/", "/jobs/new", "/lab", "/operations", "/help", "/sql")
JOB_PAGES = ("", "/heads/0/0", "/heads/5/11", "/examples/0", "/examples/10")


@pytest.mark.parametrize("path", PAGES)
def test_pages_without_data(empty: SimpleNamespace, path: str) -> None:
    page = empty.client.get(path)
    assert page.status_code == 200
    assert "<h1>" in page.text


def test_a_job_in_every_state(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    unfinished = {"queued": 0, "running": 6, "paused": 6, "cancelling": 6}
    for state in SHOWN_JOB_STATES:
        job = seeding.seed_job(database, state=state.value, done=unfinished.get(state, 12))
        page = client.get(f"/jobs/{job}")
        assert page.status_code == 200
        phase = {"queued": "waiting", "running": "executing"}.get(state, state)
        assert f"chip-{phase}" in page.text
        assert ("No results yet" in page.text) == (state in ("queued", "planning"))
        assert f"chip-{phase}" in client.get("/").text


def test_a_job_before_its_first_shard(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, state="running", done=0)
    assert "No results yet" in client.get(f"/jobs/{job}").text
    assert client.get(f"/jobs/{job}/heads/0/0").status_code == 404


def test_pages_of_results(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    for path in JOB_PAGES:
        assert client.get(f"/jobs/{job}{path}").status_code == 200
    seeding.seed_worker(database, "orion-1", state="busy", job_id=job, shard_no=0)
    assert f"job {job}</a>, shard 0" in client.get("/operations").text


def test_how_the_data_was_read(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    read = Understood(
        format="tab-separated",
        rows=1200,
        text_columns=("premise", "hypothesis"),
        label_column=HOSTILE,
        labels_by="index",
        label_counts={"no": 700, "yes": 500},
    )
    job = seeding.seed_job(database)
    with database.write() as tx:
        stored = {"understood": read.to_json(), "warning": f"accuracy 31 % {HOSTILE}"}
        tx.execute(schema.job.update().values(stored))
    page = client.get(f"/jobs/{job}").text
    assert "Tab-separated, 1,200 rows. Texts from premise and hypothesis. Labels from" in page
    assert "read by index: 0 no: 700, 1 yes: 500." in page
    assert "<strong>Warning:</strong> accuracy 31 %" in page
    assert "<script>alert" not in page


def test_nothing_of_the_texts_is_needed(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, keep_text=False)
    for path in JOB_PAGES:
        assert client.get(f"/jobs/{job}{path}").status_code == 200
    assert "text not kept" in client.get(f"/jobs/{job}").text
    assert "Texts were not kept" in client.get(f"/jobs/{job}/examples/0").text


def test_hostile_texts_are_shown_not_run(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(
        database,
        name=HOSTILE,
        pairs=((HOSTILE, HOSTILE),),
        labels=(HOSTILE, "b", "c"),
        error=HOSTILE,
    )
    seeding.seed_worker(database, HOSTILE, device=HOSTILE)
    query = f"SELECT '{HOSTILE.replace(chr(39), '')}' AS x"
    pages = [client.get(f"/jobs/{job}{path}") for path in JOB_PAGES]
    queries = ["/", f"/?q={quote(HOSTILE)}", "/operations", f"/jobs/new?clone={job}"]
    if database.dialect == "sqlite":  # PostgreSQL's console needs a role of its own
        queries.append(f"/sql?q={quote(query)}")
    pages += [client.get(path) for path in queries]
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
    assert html.escape(HOSTILE, quote=False)[:20] in pages[0].text
    refused = client.get("/", query_string={"state": HOSTILE})
    assert refused.status_code == 400
    assert "<script>alert" not in refused.text


def test_no_page_loads_anything_from_elsewhere(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    paths = [*PAGES, *(f"/jobs/{job}{path}" for path in JOB_PAGES), "/jobs/99"]
    for path in paths:
        text = client.get(path).text
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
            assert not re.match(r"(?i)([a-z]+:)?//|javascript:|data:", address), (path, address)
        # Nothing that the policy would refuse: inline scripts, styles or handlers.
        assert not re.search(r"(?i)\sstyle=|<style|\son[a-z]+=", text), path
        for script in re.findall(r"<script([^>]*)>", text):
            assert "src=" in script or 'type="application/json"' in script


def test_every_asset_of_a_page_is_there(empty: SimpleNamespace) -> None:
    text = empty.client.get("/jobs/new").text
    found = re.findall(r'"(/assets/[^"]+)"', text)
    assert len(set(found)) >= 4
    folder = found[0].rsplit("/", 1)[0]
    for address in {*found, f"{folder}/vega.js", f"{folder}/themes.js"}:
        with empty.client.get(address, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]
    with empty.client.get("/assets/old/style.css") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
    assert empty.client.get("/assets/x/app.py").status_code == 404
    assert empty.client.get(f"/assets/x/{'a' * 5000}").status_code == 404


@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/jobs/99", "/nothing", "/healthz"])
def test_security_headers(empty: SimpleNamespace, path: str) -> None:
    headers = empty.client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "before=" + cursors.encode("a", 1),
        "after=" + cursors.encode(1, 1) + "&sort=name",
        "after=" + cursors.encode(10**400, 1),
        "after=" + cursors.encode(1, 2**31),
        "before=" + cursors.encode("a\0", 1) + "&sort=name",
        "before=" + cursors.encode("\ud800", 1) + "&sort=name",
        "state=nowhere",
        "phase=running",
        "kind=x",
        "quick=2",
        "mine=yes",
        "sort=size",
        "column=size",
        "q=" + "x" * 201,
    ],
)
def test_bad_list_parameters_are_named(empty: SimpleNamespace, query: str) -> None:
    page = empty.client.get(f"/?{query}")
    assert page.status_code == 400
    assert f"<strong>{query.split('=')[0]}</strong>" in page.text


def test_bad_result_parameters_are_named(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    bad = "after=x before=-2 only=every gold=x predicted=1.5 sort=size shards=lost shard_page=0"
    for query in [*bad.split(), "heads=some", "text=" + "x" * 201]:
        page = client.get(f"/jobs/{job}?{query}")
        assert page.status_code == 400
        assert f"<strong>{query.split('=')[0]}</strong>" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/1",
        "/jobs/0",
        "/jobs/99999999999999999999",
        "/jobs/x",
        "/jobs/1/heads/0/0",
        "/jobs/1/examples/0",
        "/jobs/1/export/examples.csv",
        "/nothing",
    ],
)
def test_what_is_not_there(empty: SimpleNamespace, path: str) -> None:
    page = empty.client.get(path)
    assert page.status_code == 404
    assert "Back to the list of jobs" in page.text


def test_parts_of_a_job_that_are_not_there(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    for path in (
        "heads/6/0",
        "heads/0/12",
        "examples/12",
        "export/secrets.csv",
        "examples/0?at=9.9",
    ):
        assert client.get(f"/jobs/{job}/{path}").status_code == 404, path
    # As any choice of a figure that there is not.
    assert client.get(f"/jobs/{job}/examples/0?site=6").status_code == 400
    assert client.get(f"/jobs/{job}/examples/0?at=x.y").status_code == 400
    assert client.get(f"/jobs/{job}/heads/0/0?kind=cross").status_code == 400


def test_pages_after_pages(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, examples=60, layers=1, heads=1, shard_size=2)
    first = client.get(f"/jobs/{job}").text
    assert "Examples 0 to 24" in first
    assert "Page 1 of 2" in first
    assert "Examples 25 to 49" in client.get(f"/jobs/{job}?after=24").text
    last = client.get(f"/jobs/{job}?after=49").text
    assert "Examples 50 to 59" in last
    assert "after=59" not in last
    assert "Examples 25 to 49" in client.get(f"/jobs/{job}?before=50").text
    assert "before=0" not in client.get(f"/jobs/{job}?before=25").text


def test_examples_are_filtered(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, examples=40)

    def count(**filters: object) -> int:
        page = client.get(f"/jobs/{job}", query_string=filters)
        return len(re.findall(rf'href="/jobs/{job}/examples/\d+"', page.text))

    assert count(only="failed") == 3
    assert count(only="truncated") == 6
    assert 0 < count(only="wrong") < 25
    assert count(text="CAFÉ") + count(text="café") >= 5
    assert count(text="100%") == 0
    assert count(gold=0, only="failed") <= 3


def test_jobs_are_filtered(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    seeding.seed_job(database, name="alpha_1", examples=2)
    seeding.seed_job(database, name="beta", examples=2, state="queued")
    assert "beta" not in client.get("/?q=ALPHA_1").text
    assert "No job matches" in client.get("/?q=alpha%251").text
    assert "alpha_1" not in client.get("/?state=queued").text


def test_csv_of_a_job_is_whole_and_harmless(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, pairs=(("=1+1", "-2+3"),), examples=5)
    text = client.get(f"/jobs/{job}/export/examples.csv").text
    assert len(text.splitlines()) == 6
    assert "'=1+1,'-2+3" in text
    importance = client.get(f"/jobs/{job}/export/head_importance.csv")
    assert importance.text.startswith("job_id,layer,attention_type,kind,head,rank,n,mean")
    assert len(importance.text.splitlines()) == 73
    assert "attachment" in importance.headers["Content-Disposition"]


def test_the_address_of_jobs_leads_to_their_list(client: FlaskClient) -> None:
    answer = client.get("/jobs?state=failed")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/?state=failed"
