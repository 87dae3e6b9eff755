"""Deadlines, retention, limits and priorities on the pages and in the API."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from db.ops import retention
from db.reads import jobs as job_reads
from jobs.settings import load_settings
from tests.helpers.apps import new_app
from webui.pages.jobs.new_job import defaults, to_form


def test_the_form_takes_deadline_priority_and_days(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    fields = {"deadline": "3600", "priority": "7", "keep_days": "30", "keep_details_days": "0"}
    fields |= {"queue": "gpu"}
    form = {**defaults("attribution"), **to_form(submission), **fields}
    assert client.post("/jobs/new", data=form).status_code == 303
    job = job_reads.get_job(database, 1)
    assert (job.priority, job.keep_days, job.keep_details_days, job.queue) == (7, 30, 0, "gpu")
    copy = client.get("/jobs/new?clone=1").text
    assert re.search('name="queue"[^>]*value="gpu"', copy)
    check = client.post("/jobs/new/check", data=form).json
    assert any("no worker serves the queue gpu" in note for note in check["notes"])
    page = client.get("/jobs/1").text
    assert "Deadline</a>: <time" in page
    bad = client.post("/jobs/new", data={**form, "deadline": "2001-01-01T00:00Z"})
    assert bad.status_code == 400
    assert "has passed already" in bad.text.split('data-problem="deadline"')[1][:300]


def test_a_job_says_when_it_goes_and_what_has_gone(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    assert "go on" not in client.get(f"/jobs/{job}").text
    form = {"keep_days": "30", "keep_details_days": "7"}
    assert client.post(f"/jobs/{job}/change", data=form).status_code == 303
    page = client.get(f"/jobs/{job}").text
    assert "Its details will be purged on <time" in page
    assert "The job will be deleted on <time" in page
    assert 'value="30"' in page
    assert (
        client.post(f"/jobs/{job}/change", data={"keep_days": "", "priority": "3"}).status_code
        == 409
    )
    assert client.post(f"/jobs/{job}/purge").status_code == 303
    retention.remove_details(database, seconds=60)
    page = client.get(f"/jobs/{job}").text
    assert "were purged on <time" in page
    assert 'id="heads"' in page
    assert 'id="examples"' not in page
    assert "Its details will be purged on" not in page
    assert client.post(f"/jobs/{job}/purge").status_code == 409
    assert client.get(f"/jobs/{job}/examples/0").status_code == 404
    assert client.get(f"/api/v1/jobs/{job}").json["purged_at"] == pytest.approx(
        time.time(), abs=300
    )


def test_the_api_changes_a_job(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, state="running", done=6)
    answer = client.patch(f"/api/v1/jobs/{job}", json={"priority": 9, "keep_days": 1.5})
    assert answer.status_code == 200
    assert (answer.json["priority"], answer.json["keep_days"]) == (9, 1.5)
    for priority in ("x", "9", False):
        assert client.patch(f"/api/v1/jobs/{job}", json={"priority": priority}).status_code == 400
    assert client.patch("/api/v1/jobs/99", json={"priority": 1}).status_code == 404
    assert 'name="priority" value="9"' in client.get(f"/jobs/{job}").text


def test_too_much_at_once_is_429(
    app: Flask, database: Database, submission: dict[str, Any]
) -> None:
    settings = app.extensions["headwise"].settings
    tight = new_app(
        load_settings({}, home=settings.home, database_url=database.url, max_jobs_per_user=1)
    )
    client = tight.test_client()
    assert client.post("/api/v1/jobs", json=submission).status_code == 201
    again = {**submission, "spec": {**submission["spec"], "max_length": 9}}
    refused = client.post("/api/v1/jobs", json=again)
    assert refused.status_code == 429
    assert "HEADWISE_MAX_JOBS_PER_USER" in refused.json["problems"][0]["remedy"]
    page = client.post("/jobs/new", data={**defaults("attribution"), **to_form(again)})
    assert page.status_code == 429
    assert "the limit is 1" in page.text
    tight.extensions["headwise"].database.close()
