"""The form of a new job, without JavaScript."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from db.reads import jobs as job_reads
from jobs.errors import InputError
from jobs.inputs import data
from jobs.settings import Settings
from scheduler.submission.submit import check, submit
from webui.pages.new_job import defaults, to_form, to_submission

ELSEWHERE = {"Origin": "https://elsewhere.example"}
HOSTILE = "<b onclick=x>\"'"


def filled(submission: dict[str, Any], **changes: str) -> dict[str, str]:
    """The form's fields as a browser would send them."""
    return {**defaults("attribution"), **to_form(submission), **changes}


def test_submit(client: FlaskClient, database: Database, submission: dict[str, Any]) -> None:
    answer = client.post("/jobs/new", data=filled(submission))
    assert answer.status_code == 303
    job = job_reads.get_job(database, 1)
    assert (job.name, job.examples) == ("three rows", 3)
    assert job.spec["keep_text"] is True
    again = client.post("/jobs/new", data=filled(submission), follow_redirects=True)
    assert "The same work was already in progress" in again.text


def test_check_only(client: FlaskClient, database: Database, submission: dict[str, Any]) -> None:
    page = client.post("/jobs/new", data=filled(submission, do="check"))
    assert page.status_code == 200
    assert re.search(r"<dt>Examples</dt><dd>3</dd>", page.text)
    assert job_reads.count_jobs(database) == 0


def test_upload_with_the_form(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    rows = b'{"text": "a", "label": "yes"}\n'
    own = {"name": "", "data.path": "", "upload": (io.BytesIO(rows), "mine.jsonl")}
    data = {**filled(submission), **own}
    assert client.post("/jobs/new", data=data).status_code == 303
    assert "/uploads/" in job_reads.get_job(database, 1).spec["data"]["path"]
    assert ">tiny on mine.jsonl</a>" in client.get("/").text
    page = client.get("/jobs/1").text
    assert "<h1>tiny on mine.jsonl</h1>" in page
    assert "mine.jsonl (uploaded)" in page
    assert (
        'Uploaded: <strong class="break">mine.jsonl</strong>'
        in client.get("/jobs/new?clone=1").text
    )
    bad = {**filled(submission), "upload": (io.BytesIO(b"{"), "mine.jsonl")}
    assert client.post("/jobs/new", data=bad).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.name", ""),
        ("model.name", HOSTILE),
        ("data.path", "/etc/passwd"),
        ("data.text_columns", "nothing"),
        ("data.limit", "many"),
        ("data.sample", "-1"),
        ("max_length", "1"),
        ("target", HOSTILE),
        ("output", "loss"),
        ("rtol", "0"),
        ("max_points", "1e9"),
        ("edges", "-1"),
        ("device", "tpu"),
        ("priority", "high"),
        ("name", "x" * 300),
    ],
)
def test_a_problem_is_told_at_its_field(empty: SimpleNamespace, field: str, value: str) -> None:
    page = empty.client.post("/jobs/new", data=filled(empty.submission, **{field: value}))
    assert page.status_code == 400
    control = re.search(rf'<(?:input|select)[^>]* id="{re.escape(field)}"[^>]*>', page.text)
    assert control is not None
    assert 'aria-invalid="true"' in control[0]
    assert f"problem-{field}" in control[0]
    told = re.search(rf'<p[^>]* id="problem-{re.escape(field)}"[^>]*>(.*?)</p>', page.text, re.S)
    assert told is not None
    assert told[1].strip()
    assert "<b onclick" not in page.text
    # What was typed stays.
    assert 'value="' + str(empty.submission["spec"]["data"]["label_column"]) in page.text


def test_every_problem_at_once(empty: SimpleNamespace) -> None:
    page = empty.client.post(
        "/jobs/new", data=filled(empty.submission, **{"rtol": "2", "edges": "x", "data.seed": "-1"})
    )
    assert page.text.count('aria-invalid="true"') == 3
    assert "3 problems" in page.text


def test_fixed_rule_and_hub_data() -> None:
    values = {
        **defaults("attribution"),
        "model.name": "org/model",
        "source": "hub",
        "data.path": "left over",
        "data.dataset": "nyu-mll/glue",
        "data.text_columns": "premise, hypothesis",
        "rule": "left-riemann",
        "points": "20",
        "keep_text": "",
    }
    raw = to_submission(values)
    assert raw["spec"]["integration"] == "left-riemann:20"
    assert raw["spec"]["data"] == {
        "dataset": "nyu-mll/glue",
        "text_columns": "premise, hypothesis",
        "offset": "0",
        "seed": "0",
    }
    assert raw["spec"]["keep_text"] is False
    back = to_form(raw)
    assert (back["rule"], back["points"], back["source"]) == ("left-riemann", "20", "hub")
    assert to_submission({**values, **back}) == raw


def test_clone_prefills(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    submission["spec"] |= {"integration": "gauss-legendre:7", "keep_text": False, "rtol": 0.01}
    client.post("/api/v1/jobs", data=json.dumps(submission))
    page = client.get("/jobs/new?clone=1").text
    assert 'value="three rows"' in page
    assert re.search(r'<option value="gauss-legendre" selected>', page)
    assert 'name="points" inputmode="numeric" class="short" value="7"' in page
    assert re.search(r'name="rtol"[^>]* value="0.01"', page)
    assert not re.search(r'name="keep_text"[^>]*checked', page)
    assert client.get("/jobs/new?clone=99").status_code == 404
    assert client.get("/jobs/new?clone=x").status_code == 400


def test_presets(empty: SimpleNamespace) -> None:
    page = empty.client.get("/jobs/new").text
    links = re.findall(r'href="(/jobs/new\?preset=[^"]+)"', page)
    assert len(links) >= 3
    for link in links:
        assert empty.client.get(html.unescape(link)).status_code == 200
    assert empty.client.get("/jobs/new?preset=none").status_code == 400


def test_the_live_check_reads_a_file_once(
    client: FlaskClient, submission: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = data.summarize_file

    def counted(asked: Any, *into: Any) -> Any:
        read.append(asked.name)
        return real(asked, *into)

    monkeypatch.setattr(data, "summarize_file", counted)
    spec = submission["spec"]
    form = {
        "kind": "attribution",
        "source": "file",
        "model.name": spec["model"]["name"],
        "data.path": spec["data"]["path"],
        "data.text_columns": "text",
        "data.label_column": "label",
    }
    for rtol in ("0.1", "0.2", "0.3"):
        answer = client.post("/jobs/new/check", data={**form, "rtol": rtol})
        assert answer.get_json()["estimate"]["examples"] == 3
        assert answer.get_json()["first_texts"] == ["text 0"]
    assert len(read) == 1
    assert client.post("/jobs/new", data=form).status_code == 303
    assert len(read) == 2  # the rows themselves, to store them


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"model.name": "/mod"}, "model.name"),
        ({"data.path": "rows.js"}, "data.path"),
        ({"data.text_columns": "tex"}, "data.text_columns"),
        ({"rtol": "0."}, "rtol"),
        ({"kind": "attr"}, "kind"),
    ],
)
def test_a_half_filled_form_is_no_error_while_one_types(
    client: FlaskClient, submission: dict[str, Any], typed: dict[str, str], field: str
) -> None:
    checked = client.post("/jobs/new/check", data=filled(submission, **typed))
    assert checked.status_code == 200
    assert [problem["field"] for problem in checked.get_json()["problems"]] == [field]
    assert client.post("/jobs/new", data=filled(submission, **typed)).status_code == 400


def test_the_head_of_a_file_whose_name_is_typed(
    client: FlaskClient, submission: dict[str, Any]
) -> None:
    path = submission["spec"]["data"]["path"]
    head = client.post("/jobs/new/preview", json={"path": path})
    assert head.get_json() == client.post("/api/v1/preview", json={"path": path}).get_json()
    assert head.get_json()["columns"] == ["text", "label"]
    typed = client.post("/jobs/new/preview", json={"path": path[:-2]})
    assert typed.status_code == 200
    assert [problem["field"] for problem in typed.get_json()["problems"]] == ["data.path"]
    assert (
        client.post("/jobs/new/preview", json={"path": path}, headers=ELSEWHERE).status_code == 403
    )


def test_a_file_that_changes_during_a_submission_is_refused(
    app: Flask, settings: Settings, submission: dict[str, Any]
) -> None:
    database = app.extensions["headwise"].database
    check(submission, settings, database)
    checked = check(submission, settings, database)
    path = Path(submission["spec"]["data"]["path"])
    path.write_text(path.read_text().replace("text 1", "text 9"))
    with pytest.raises(InputError, match="was changed during the submission"):
        submit(checked, database)
