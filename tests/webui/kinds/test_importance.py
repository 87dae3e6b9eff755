"""Importance jobs in the browser and in the API, and the comparison of runs."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest.mock import ANY

import pytest
from flask.testing import FlaskClient

from db import schema
from db.database import Database
from db.queue import claims, lifecycle, new_jobs
from db.reads import jobs as job_reads
from db.results import commit
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, importance_of, planned_job
from webui.kinds import PAGES
from webui.pages.jobs.new_job import defaults, to_form, to_submission


def finished(database: Database, kind: str) -> int:
    job = planned_job(database, kind=kind, spec=json.dumps({"kind": kind, "keep_text": True}))
    while held := claims.claim(database, ALICE, 60):
        done = completed(held.lo, held.hi)
        if kind == "importance":
            done = Completed(parts=(importance_of(held.lo, held.hi),), seconds=0.1)
        assert commit.commit_shard(database, held, done, "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    return job


def payload(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_an_importance_jobs_page(client: FlaskClient, database: Database) -> None:
    job = finished(database, "importance")
    page = client.get(f"/jobs/{job}").text
    offered = re.findall(r'href="/jobs/\d+\?source=([a-z-]+)#heads"', page)
    assert list(dict.fromkeys(offered)) == ["leave-one-out-accuracy", "leave-one-out-loss"]
    chosen = client.get(f"/jobs/{job}?source=leave-one-out-loss").text
    heads = payload(chosen, "heads-spec")["data"]["values"]
    assert len(heads) == HEADS * SITES
    first = max(heads, key=lambda row: row["importance"])
    assert (first["name"], first["rank"], first["rank_low"]) == ("L1 H2", 1, 1)
    assert first["rank_high"] >= 1
    table = client.get(f"/jobs/{job}?source=leave-one-out-loss").text
    rows = re.findall(r'<tr>\s*<td class="num">(\d)</td>.*?(\d) to (\d)</td>', table, re.S)
    assert [int(rank) for rank, *_ in rows] == list(range(1, SITES * HEADS + 1))
    assert client.get(f"/jobs/{job}?source=taylor").status_code == 400


def test_an_importance_job_without_results_yet(client: FlaskClient, database: Database) -> None:
    job = planned_job(database, kind="importance", spec='{"kind": "importance"}')
    assert "No results yet" in client.get(f"/jobs/{job}").text


def test_a_job_says_what_it_waits_for_and_what_needs_it(
    client: FlaskClient, database: Database
) -> None:
    parent = planned_job(database)
    job = new_jobs.create_job(
        database,
        {**_values(database, parent), "state": "queued", "dedupe_key": None},
        None,
        [parent],
    )
    assert f"waiting for job {parent}" in client.get(f"/jobs/{job}").text
    assert f"waiting for job {parent}" in client.get("/").text
    assert re.search(
        rf'needed by</dt><dd><a href="/jobs/{job}"', client.get(f"/jobs/{parent}").text
    )
    assert client.get(f"/api/v1/jobs/{job}").get_json()["parents"] == [parent]
    refused = client.delete(f"/api/v1/jobs/{job}")
    assert refused.status_code == 409


def _values(database: Database, job: int) -> dict[str, Any]:
    with database.read() as tx:
        row = tx.run(f"SELECT * FROM job WHERE id = {job}").mappings().one()
    columns = {column.name: column.key for column in schema.job.columns}
    return {columns[n]: value for n, value in row.items() if n not in ("id", "created_at")}


def test_two_runs_compared(client: FlaskClient, database: Database) -> None:
    job, other = finished(database, "attribution"), finished(database, "importance")
    address = f"/jobs/{job}/correlation"
    chosen = {"source": "attattr", "with": f"{other}.leave-one-out-loss"}
    page = client.get(address, query_string=chosen).text
    # The made-up losses are the scores.
    assert re.search(r"<dt>Pearson</dt><dd>1\.000</dd>", page)
    assert re.search(r"<dt>Spearman</dt><dd>1\.000</dd>", page)
    heads = payload(page, "correlation-spec")["data"]["values"]
    assert [row["one"] for row in heads] == pytest.approx([row["other"] for row in heads])
    assert len(heads) == SITES * HEADS
    assert "Pearson" in client.get(address).text
    assert client.get(address, query_string={"with": "99.taylor"}).status_code == 400
    assert client.get(address, query_string={"source": "tailor"}).status_code == 400
    assert client.get("/jobs/99/correlation").status_code == 404


def test_nothing_to_compare_with(client: FlaskClient, database: Database) -> None:
    job = planned_job(database)
    assert "no ranking of heads yet" in client.get(f"/jobs/{job}/correlation").text


def test_the_rankings_in_the_api_and_as_csv(client: FlaskClient, database: Database) -> None:
    job = finished(database, "importance")
    found = client.get(f"/api/v1/jobs/{job}/rankings").get_json()
    pages = [client.get(f"/api/v1/jobs/{job}/rankings?limit=10").json]
    while pages[-1]["next"]:
        pages.append(client.get(pages[-1]["next"]).json)
    assert [row for page in pages for row in page["rankings"]] == found["rankings"]
    assert len(pages) > 1
    sources = {row["source"] for row in found["rankings"]}
    for source in sources:
        own = client.get(f"/api/v1/jobs/{job}/rankings?source={source}").json
        assert own["total"] == found["total"] / len(sources)
    assert client.get(f"/api/v1/jobs/{job}/rankings?source=x").json["rankings"] == []
    assert not found["provisional"]
    assert len(found["rankings"]) == 2 * SITES * HEADS
    first = found["rankings"][0]
    assert (first["source"], first["rank"], first["n"]) == ("leave-one-out-accuracy", 1, 6)
    for view in ("importances", "head_values"):
        lines = client.get(f"/jobs/{job}/export/{view}.csv").text.splitlines()
        assert lines[0].startswith("job_id,source")
        assert len(lines) > SITES * HEADS
    assert client.get("/api/v1/jobs/99/rankings").status_code == 404


# The form and the API of several kinds.


@pytest.mark.parametrize("kind", PAGES)
def test_a_kinds_form_reads_what_it_shows(kind: str, client: FlaskClient) -> None:
    assert client.get("/jobs/new", query_string={"kind": kind}).status_code == 200
    values = defaults(kind) | {"kind": kind, "model.name": "org/model", "data.path": "rows.jsonl"}
    raw = to_submission(values)
    assert raw["spec"]["kind"] == kind
    assert to_submission({**values, **to_form(raw)}) == raw


def test_an_unknown_kind_has_no_form(client: FlaskClient) -> None:
    assert client.get("/jobs/new?kind=magic").status_code == 400
    assert client.post("/jobs/new", data={"kind": "magic"}).status_code == 400


def test_an_importance_job_from_the_form(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    submission["spec"] |= {"kind": "importance", "method": "leave-one-out"}
    fields = defaults("importance") | to_form(submission)
    checked = client.post("/jobs/new/check", data=fields).get_json()
    assert checked["estimate"]["examples"] == 3
    assert client.post("/jobs/new", data=fields).status_code == 303
    assert job_reads.get_job(database, 1).spec["method"] == "leave-one-out"
    bad = client.post("/jobs/new", data={**fields, "data.label_column": ""})
    assert bad.status_code == 400
    assert "needs “Label column”" in bad.text
    page = client.get("/jobs/new?clone=1").text
    assert re.search(r'value="leave-one-out" selected', page)


def test_results_that_are_there_already_are_offered(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    first = client.post("/api/v1/jobs", json=submission)
    assert (first.status_code, first.get_json()["existing_job"]) == (201, None)
    second = client.post("/api/v1/jobs", json=submission)
    assert (second.status_code, second.get_json()["existing_job"]) == (200, 1)
    with database.write() as tx:
        tx.run("UPDATE job SET state = 'succeeded', started_at = 9e9")
    assert client.post("/api/v1/check", json=submission).get_json()["same_as"] == 1
    again = client.post("/api/v1/jobs", json=submission)
    assert (again.status_code, again.get_json()["same_as"]) == (200, 1)
    fields = defaults("attribution") | to_form(submission)
    page = client.post("/jobs/new", data=fields, follow_redirects=True).text
    assert "already has the results you asked for" in page
    assert (
        "The same work has results already"
        in client.post("/jobs/new", data={**fields, "do": "check"}).text
    )
    assert client.post("/jobs/new", data={**fields, "again": "on"}).headers["Location"] == "/jobs/2"


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"kind": "magic"}, "kind", "is not a kind of job"),
        ({"kind": "importance"}, "method", "is missing"),
        ({"kind": "importance", "method": "taylor", "rtol": 1}, "rtol", "unknown key"),
        ({"kind": "importance", "method": "tailor"}, "method", "taylor"),
    ],
)
def test_the_api_refuses(
    client: FlaskClient, submission: dict[str, Any], spec: dict[str, Any], field: str, words: str
) -> None:
    submission["spec"] |= spec
    answer = client.post("/api/v1/jobs", json=submission)
    assert answer.status_code == 400
    (problem,) = answer.get_json()["problems"]
    assert problem["field"] == field
    assert words in problem["message"]


def test_a_study_through_the_api(client: FlaskClient, submission: dict[str, Any]) -> None:
    other = {"spec": {**submission["spec"], "kind": "importance", "method": "taylor"}}
    study = {"name": "two", "jobs": {"attribution": submission, "taylor": other}}
    made = client.post("/api/v1/studies", json=study)
    assert made.status_code == 201
    jobs = {"attribution": 1, "taylor": 2}
    assert made.get_json() == {"study": 1, "jobs": jobs, "reused": {}, "notes": [ANY]}
    again = client.post("/api/v1/studies", json=study).get_json()
    assert (again["study"], again["jobs"], again["reused"]) == (2, jobs, jobs)
    steps = client.get("/api/v1/studies/1").get_json()["steps"]
    assert [step["kind"] for step in steps.values()] == ["attribution", "importance"]
    study["jobs"]["taylor"]["spec"]["method"] = "tailor"
    (problem,) = client.post("/api/v1/studies", json=study).get_json()["problems"]
    assert problem["field"] == "jobs.taylor.method"
    assert client.get("/api/v1/studies/9").status_code == 404
