"""The page of recurring jobs, their form and API."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from db.database import Database
from db.queue import recurring
from db.reads import job_list
from jobs.settings import Settings
from scheduler.submission.recurring import submit_due
from webui.pages.jobs.new_job import defaults, to_form


def form(submission: dict[str, Any], **changes: str) -> dict[str, str]:
    return {**defaults("attribution"), **to_form(submission), **changes}


def test_the_form_adds_one_and_the_page_shows_its_runs(
    client: FlaskClient, database: Database, settings: Settings, submission: dict[str, Any]
) -> None:
    assert "No recurring jobs yet" in client.get("/recurring").text
    answer = client.post("/jobs/new", data=form(submission, cron="0 3 * * *", zone="Asia/Tokyo"))
    assert (answer.status_code, answer.location) == (303, "/recurring")
    assert len(job_list.list_jobs(database)) == 0
    page = client.get("/recurring").text
    assert "<code>0 3 * * *</code>" in page
    assert "Asia/Tokyo" in page
    assert "three rows" in page
    with database.write() as tx:
        tx.run("UPDATE recurring SET next_at = 1000000")
    submit_due(settings, database)
    page = client.get("/recurring").text
    assert '<a href="/jobs/1">job 1</a>' in page
    assert "for the times missed since" in page
    assert client.post("/recurring/1/pause").status_code == 303
    assert "Resume" in client.get("/recurring").text
    assert client.post("/recurring/1/stop").status_code == 400
    assert client.post("/recurring/1/remove").status_code == 303
    assert client.post("/recurring/1/remove").status_code == 404
    assert client.get("/jobs/1").status_code == 200


def test_bad_times_show_at_their_field(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    page = client.post("/jobs/new", data=form(submission, cron="0 3 * *", zone="Moon"))
    assert page.status_code == 400
    for field, message in (("cron", "must have five fields"), ("zone", "is not a known time zone")):
        assert message in page.text.split(f'data-problem="{field}"')[1][:300]
    assert recurring.find(database) == []


def test_the_api(client: FlaskClient, submission: dict[str, Any]) -> None:
    raw = {"cron": "*/5 * * * *", "name": "often", "submission": submission}
    answer = client.post("/api/v1/recurring", json=raw)
    assert answer.status_code == 201
    assert (answer.json["id"], answer.json["name"], answer.json["zone"]) == (1, "often", "UTC")
    assert client.get("/api/v1/recurring").json["recurring"][0]["cron"] == "*/5 * * * *"
    assert client.post("/api/v1/recurring/1/pause").json["paused"] is True
    assert client.post("/api/v1/recurring/1/resume").json["paused"] is False
    assert client.post("/api/v1/recurring/1/explode").status_code == 404
    assert client.get("/api/v1/recurring/1").json["runs"] == []
    assert client.delete("/api/v1/recurring/1").json == {"removed": 1}
    assert client.get("/api/v1/recurring/1").status_code == 404
    bad = client.post("/api/v1/recurring", json={"cron": "never", "submission": submission})
    assert bad.status_code == 400
    assert bad.json["problems"][0]["field"] == "cron"
    assert client.post("/api/v1/recurring", json=[]).status_code == 400
