"""Studies on the dashboard and in the API: every state, every refusal."""

from __future__ import annotations

import copy
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from db import schema
from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, completed, importance_of, planned_job

API = "/api/v1/studies"
FORM = {
    "source": "file",
    "data.text_columns": "text",
    "data.label_column": "label",
    "examples": "2",
    "parts.taylor": "on",
    "parts.pruning": "on",
}


@pytest.fixture
def study(submission: dict[str, Any]) -> dict[str, Any]:
    """A good study of three rows."""
    return {"name": "paper", "spec": {**copy.deepcopy(submission["spec"]), "examples": 2}}


def set_state(database: Database, job: int, state: str, error: str = "") -> None:
    with database.write() as tx:
        values = {"job": job, "state": state, "error": error or None}
        query = "UPDATE job SET state = :state, error = :error, started_at = 4e9 WHERE id = :job"
        tx.run(query, **values)


def finished_study(database: Database, name: str = "done") -> tuple[int, int, int]:
    """A study of an attribution and a leave-one-out job with results; its number and theirs."""
    jobs = []
    for kind, computed in (("attribution", completed), ("importance", None)):
        spec = {
            **{"keep_text": True, "kind": kind, "model": {"name": "/m"}},
            "data": {"path": "rows.jsonl", "text_columns": ["text"], "label_column": "label"},
            **({"method": "leave-one-out"} if kind == "importance" else {}),
        }
        job = planned_job(database, kind=kind, spec=json.dumps(spec))
        while held := claims.claim(database, ALICE, 60):
            result = (
                computed(held.lo, held.hi)
                if computed
                else Completed(parts=(importance_of(held.lo, held.hi),), seconds=0.5)
            )
            assert commit.commit_shard(database, held, result, "model")
        lifecycle.sweep_jobs(database)
        lifecycle.finish_jobs(database)
        jobs.append(job)
    with database.write() as tx:
        values = {"name": name, "user_name": "ada", "created_at": 0.0}
        inserted = tx.execute(schema.study.insert().values(values)).inserted_primary_key
        assert inserted is not None
        rows = [
            {"study_id": inserted[0], "step": step, "position": place, "job_id": job}
            for place, (step, job) in enumerate(
                zip(("attribution", "leave-one-out"), jobs, strict=True)
            )
        ]
        tx.execute(schema.study_step.insert(), rows)
    return inserted[0], *jobs


def states(page: str) -> str:
    found = re.search(r'data-states="([^"]*)"', page)
    assert found is not None
    return found[1].strip()


def test_a_study_by_the_api(client: FlaskClient, study: dict[str, Any]) -> None:
    checked = client.post(f"{API}/check", json=study)
    assert checked.status_code == 200
    assert checked.json["model"]["heads"] == 3
    assert next(iter(checked.json["jobs"])) == "attribution"
    assert checked.json["reused"] == {}
    assert client.get(API).json == {"next": None, "studies": [], "total": 0}
    made = client.post(API, json=study)
    assert made.status_code == 201
    number = made.json["study"]
    found = client.get(f"{API}/{number}").json
    assert (found["state"], found["final"], found["findings"]) == ("queued", False, {})
    assert found["steps"]["pruning"]["parents"] == [1, 2, 3]
    assert client.post(API, json=study).json["jobs"] == made.json["jobs"]
    assert client.post(f"{API}/{number}/pause").json["state"] == "paused"
    assert client.post(f"{API}/{number}/resume").json["state"] == "queued"
    assert client.post(f"{API}/{number}/restart").status_code == 409
    assert client.post(f"{API}/{number}/cancel").json["state"] == "cancelling"
    listed = client.get(f"{API}?limit=1").json
    assert (listed["total"], len(listed["studies"])) == (2, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"examples": 3}, "examples"),
        ({"examples": "many"}, "examples"),
        ({"parts": ["prune"]}, "parts.0"),
        ({"target": "nope"}, "target"),
        ({"model": {"name": "/nowhere"}}, "model.name"),
        ({"kind": "attribution"}, "kind"),
        ({"evaluation": {"text_columns": ["text"]}}, "evaluation.path"),
    ],
)
def test_what_the_api_refuses(
    client: FlaskClient, study: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    study["spec"] |= change
    for address in (API, f"{API}/check"):
        answer = client.post(address, json=study)
        assert answer.status_code == 400
        assert [problem["field"] for problem in answer.json["problems"]] == [field]
    assert client.get(API).json["total"] == 0


def test_what_is_not_there(client: FlaskClient) -> None:
    for address in (f"{API}/7", "/studies/7", "/studies/compare?a=7&b=8", "/studies/compare"):
        assert client.get(address).status_code == 404, address
    assert client.post(f"{API}/7/pause").status_code == 404
    assert client.post(f"{API}/7/restart").status_code == 404
    assert client.post(f"{API}/7/explode").status_code == 404
    assert client.post("/studies/7/explode").status_code == 404
    assert client.post(API, json=[1]).status_code == 400
    assert client.post(API, data="{").status_code == 400
    assert client.get(f"{API}?limit=0").status_code == 400


def test_the_list(client: FlaskClient, study: dict[str, Any]) -> None:
    assert "No studies yet." in client.get("/studies").text
    client.post(API, json=study)
    page = client.get("/studies").text
    assert 'href="/studies/1">paper</a>' in page
    assert 'data-refresh="2"' in page


def test_a_page_before_there_are_results(client: FlaskClient, study: dict[str, Any]) -> None:
    client.post(API, json=study)
    page = client.get("/studies/1").text
    assert states(page) == "queued queued queued queued queued"
    assert "No results yet." in page
    assert "waiting for job 1 and 2 and 3" in " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert 'action="/studies/1/pause"' in page
    answer = client.post("/studies/1/pause")
    assert (answer.status_code, answer.location) == (303, "/studies/1")
    assert 'action="/studies/1/resume"' in client.get("/studies/1").text


def test_a_running_and_a_failed_page(
    client: FlaskClient, study: dict[str, Any], database: Database
) -> None:
    client.post(API, json=study)
    set_state(database, 1, "running")
    page = client.get("/studies/1").text
    assert states(page).startswith("running queued")
    assert 'data-refresh="2"' in page
    set_state(database, 1, "failed", "the <model> is gone")
    lifecycle.sweep_jobs(database)
    for job in (2, 3):
        set_state(database, job, "cancelled")
    page = client.get("/studies/1").text
    assert states(page) == "failed cancelled cancelled failed failed"
    assert "the &lt;model&gt; is gone" in page
    assert "job 1, which this needs, failed" in page
    assert "No step of this study succeeded." in page
    assert 'data-refresh="2"' not in page
    answer = client.post("/studies/1/restart")
    assert (answer.status_code, answer.location) == (303, "/studies/2")


def test_a_page_tells_what_was_found(client: FlaskClient, database: Database) -> None:
    study, attribution, other = finished_study(database)
    page = client.get(f"/studies/{study}").text
    assert states(page) == "succeeded succeeded"
    assert "Over 6 examples L1 H2 has the largest mean attribution" in page
    assert re.search(r"AttAttr and .* order the 6 heads with a rank correlation of", page)
    assert 'data-figure="heads-spec"' in page
    assert 'data-figure="ranks-spec"' in page
    assert f"/jobs/{attribution}/correlation?source=attattr&amp;with={other}.leave" in page
    assert 'id="pruning"' not in page
    assert 'id="triggers"' not in page
    said = client.get(f"{API}/{study}").json["findings"]
    assert list(said) == ["attribution", "leave-one-out", "agreement"]


def test_two_studies_side_by_side(
    client: FlaskClient, study: dict[str, Any], database: Database
) -> None:
    a, _, _ = finished_study(database, "first")
    b, _, _ = finished_study(database, "second")
    page = client.get(f"/studies/compare?a={a}&b={b}").text
    assert page.count("Over 6 examples L1 H2 has the largest mean") == 2
    assert 'data-figure="scatter-spec"' in page
    assert "<dt>AttAttr: Spearman</dt><dd>1.000</dd>" in page
    chosen = client.get(f"/studies/compare?a={a}&b={b}&source=leave-one-out-loss").text
    assert "Loss without it, job" in chosen
    assert client.get(f"/studies/compare?a={a}&b={b}&source=taylor").status_code == 400
    assert client.get(f"/studies/compare?a={a}&b={a}").status_code == 400
    assert "Compare with <select" in client.get(f"/studies/{a}").text
    client.post(API, json=study)
    page = client.get(f"/studies/compare?a={a}&b={b + 1}").text
    assert "No step has succeeded yet." in page
    assert "There is nothing to draw yet" in page


def test_the_form(client: FlaskClient, study: dict[str, Any]) -> None:
    page = client.get("/studies/new").text
    assert re.search(r'name="examples"[^>]* value="200"', page)
    spec = study["spec"]
    form = {**FORM, "model.name": spec["model"]["name"], "data.path": spec["data"]["path"]}
    checked = client.post("/studies/new/check", data=form)
    assert list(checked.json["jobs"]) == ["attribution", "taylor", "pruning"]
    answer = client.post("/studies/new", data={**form, "do": "check"})
    assert answer.status_code == 200
    assert "<dt>Jobs</dt><dd>3</dd>" in answer.text
    answer = client.post("/studies/new", data=form)
    assert (answer.status_code, answer.location) == (303, "/studies/1")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"examples": "x"}, "examples"),
        ({"rtol": "2"}, "rtol"),
        ({"evaluation.path": "gone.jsonl"}, "evaluation.path"),
        ({"data.label_column": "lable"}, "data.label_column"),
        ({"model.name": ""}, "model.name"),
    ],
)
def test_a_problem_shows_at_its_field(
    empty: SimpleNamespace, change: dict[str, str], field: str
) -> None:
    spec = empty.submission["spec"]
    form = {**FORM, "model.name": spec["model"]["name"], "data.path": spec["data"]["path"]}
    answer = empty.client.post("/studies/new", data={**form, **change})
    assert answer.status_code == 400
    shown = re.search(rf'data-problem="{re.escape(field)}">\s*(\S)', answer.text)
    assert shown is not None, field
    checked = empty.client.post("/studies/new/check", data={**form, **change})
    assert checked.status_code == 200
    assert [problem["field"] for problem in checked.json["problems"]] == [field]


def test_the_file_to_evaluate_on_is_picked_like_the_others(empty: SimpleNamespace) -> None:
    home = empty.model.parent.parent
    name = "evaluation.path"
    page = empty.client.post("/studies/new", data={"do": f"open:{name}:{home}"}).text
    take = f"take:{name}:{home / 'rows.jsonl'}"
    assert f'value="{take}"' in page
    taken = empty.client.post("/studies/new", data={"do": take}).text
    assert re.search(rf'name="{name}"[^>]* value="{home / "rows.jsonl"}"', taken)
