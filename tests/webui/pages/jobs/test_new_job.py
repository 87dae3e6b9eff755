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
from db.reads import job_list
from db.reads import jobs as job_reads
from jobs.errors import InputError
from jobs.inputs.data import examples
from jobs.settings import Settings
from scheduler.submission.submit import check, submit
from webui.pages.jobs.new_job import defaults, to_form, to_submission

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
    assert len(job_list.list_jobs(database)) == 0


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
        "text_columns": ["premise", "hypothesis"],
        "offset": 0,
        "seed": 0,
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


def choices(page: str, action: str) -> list[str]:
    """The values of the buttons that make a choice."""
    return [html.unescape(one) for one in re.findall(rf'name="do" value="({action}:[^"]*)"', page)]


def value_of(page: str, name: str) -> str:
    """The value of a control, hidden or not; empty where it has none."""
    control = re.search(rf'<input[^>]* name="{re.escape(name)}"[^>]*>', page)
    assert control is not None, name
    found = re.search(r' value="([^"]*)"', control[0])
    return html.unescape(found[1]) if found else ""


def test_presets(empty: SimpleNamespace) -> None:
    offered = choices(empty.client.get("/jobs/new").text, "preset")
    assert len(offered) >= 3
    for choice in offered:
        name = choice.removeprefix("preset:")
        assert empty.client.get("/jobs/new", query_string={"preset": name}).status_code == 200
        page = empty.client.post("/jobs/new", data=filled(empty.submission, do=choice))
        assert page.status_code == 200
    assert empty.client.get("/jobs/new?preset=none").status_code == 400
    assert empty.client.post("/jobs/new", data={"do": "preset:none"}).status_code == 400


def test_a_preset_keeps_what_was_typed(empty: SimpleNamespace) -> None:
    precise = next(
        one
        for one in choices(empty.client.get("/jobs/new").text, "preset")
        if one.startswith("preset:Precise")
    )
    form = filled(empty.submission, rtol="0.3", name="mine", queue="gpu", do=precise)
    del form["keep_text"]  # off
    page = empty.client.post("/jobs/new", data=form).text
    assert value_of(page, "rtol") == "0.001"
    assert "Tolerance (rtol) was 0.3." in page
    for name in ("model.name", "data.path", "data.text_columns", "name", "queue"):
        assert value_of(page, name) == form[name]
    assert not re.search(r'name="keep_text"[^>]*checked', page)


def test_another_kind_and_back_keeps_what_was_typed(empty: SimpleNamespace) -> None:
    form = filled(empty.submission, rtol="0.3", edges="7", name="mine", do="kind:importance")
    del form["keep_text"]
    page = empty.client.post("/jobs/new", data=form).text
    assert 'id="method"' in page
    sent = {name: value_of(page, name) for name in ("rtol", "edges", "name", "model.name")}
    assert sent == {name: form[name] for name in sent}
    assert 'type="hidden" name="rtol"' in page
    back = {**form, **sent, "kind": "importance", "method": "taylor", "do": "kind:attribution"}
    page = empty.client.post("/jobs/new", data=back).text
    assert {name: value_of(page, name) for name in sent} == sent
    assert 'type="hidden" name="rtol"' not in page
    assert not re.search(r'name="keep_text"[^>]*checked', page)


def test_problems_of_two_fields_are_told_with_the_others(empty: SimpleNamespace) -> None:
    form = filled(
        empty.submission, **{"data.label_column": "", "model.name": "/nowhere", "priority": "high"}
    )
    page = empty.client.post("/jobs/new", data={**form, "kind": "importance", "method": "taylor"})
    assert page.status_code == 400
    faults = set(re.findall(r' id="([a-z_.]+)"[^>]* aria-invalid="true"', page.text))
    assert faults == {"data.label_column", "model.name", "priority"}
    assert "needs “Label column”: gold labels. Name the column" in html.unescape(page.text)


@pytest.mark.parametrize(("source", "field"), [("file", "data.path"), ("hub", "data.dataset")])
def test_missing_data_is_told_at_the_source_that_was_chosen(
    empty: SimpleNamespace, source: str, field: str
) -> None:
    form = filled(empty.submission, **{"source": source, "data.path": "", "data.dataset": ""})
    page = empty.client.post("/jobs/new", data=form)
    assert f'id="problem-{field}" data-problem="{field}">is empty' in page.text


def test_a_wrong_model_is_told_before_the_data_is_given(empty: SimpleNamespace) -> None:
    typed = {"kind": "attribution", "model.name": str(empty.model.parent / "nothing")}
    problems = empty.client.post("/jobs/new/check", data=typed).get_json()["problems"]
    assert ("model.name", "no such folder") in [(p["field"], p["message"]) for p in problems]


def test_files_are_picked_in_the_allowed_folders_only(empty: SimpleNamespace) -> None:
    form = filled(empty.submission, **{"data.path": "", "data.text_columns": "", "rtol": "0.3"})

    def listed(field: str, folder: str) -> str:
        return str(
            empty.client.post("/jobs/new", data={**form, "do": f"open:{field}:{folder}"}).text
        )

    home = empty.model.parent.parent
    top = choices(listed("data.path", ""), "open")
    assert f"open:data.path:{home.resolve()}" in top
    inside = listed("data.path", str(home))
    assert value_of(inside, "rtol") == "0.3"
    take = f"take:data.path:{home / 'rows.jsonl'}"
    assert take in choices(inside, "take")
    assert "is outside the allowed folders" in listed("data.path", "/etc")
    assert "is outside the allowed folders" in listed("data.path", f"{home}/..")
    models = listed("model.name", str(home / "models"))
    assert f"take:model.name:{empty.model}" in choices(models, "take")
    page = empty.client.post("/jobs/new", data={**form, "do": take}).text
    assert value_of(page, "data.path") == str(home / "rows.jsonl")
    assert value_of(page, "data.text_columns") == "text"
    assert "Columns guessed from the file: texts from text" in page
    assert "<td>text 0</td>" in page


def test_submit_says_what_will_happen(empty: SimpleNamespace) -> None:
    form = filled(empty.submission)
    page = empty.client.post("/jobs/new", data={**form, "do": "check"}).text
    assert "Submit starts a job of 3 examples: 1 shard" in page
    assert "of disk" in page
    rows = re.findall(r'<th scope="row">(\w+)</th><td class="num">(\d+)</td>', page)
    assert rows == [("no", "2"), ("yes", "1")]
    live = empty.client.post("/jobs/new/check", data=form).get_json()
    assert live["html"].strip() in page
    assert live["estimate"]["bytes"] > 3 * 6 * 100


def test_models_are_offered_from_the_allowed_folders(empty: SimpleNamespace) -> None:
    page = empty.client.get("/jobs/new").text
    assert f'<datalist id="known-models"><option value="{empty.model}">' in page


def test_the_live_check_reads_a_file_once(
    client: FlaskClient, submission: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = examples.summarize_file

    def counted(asked: Any, *into: Any) -> Any:
        read.append(asked.name)
        return real(asked, *into)

    monkeypatch.setattr(examples, "summarize_file", counted)
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
