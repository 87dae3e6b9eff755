"""The page of notifications."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.ops import notifications
from tests.helpers.databases import execute
from tests.webui.seed import seed_job
from webui.pages.jobs.new_job import to_form

HOOK = {"name": "team", "address": "https://hooks.example.org/secret-path", "jobs": "failed"}


def test_a_recipient_is_added_tested_and_removed(client: FlaskClient, database: Database) -> None:
    assert "No recipients yet." in client.get("/notifications").text
    added = client.post("/notifications", data=HOOK)
    secret = notifications.secret(database, 1)
    assert added.status_code == 201
    assert str(secret).replace("+", "&#43;") in added.text or str(secret) in added.text
    page = client.get("/notifications").text
    assert str(secret) not in page
    assert "secret-path" not in page
    assert "jobs and studies that fail" in page
    assert "a test" in page
    execute(
        database, "UPDATE notification SET event = 'test:1', state = 'failed', error = 'no <b>'"
    )
    assert client.post("/notifications/1/test").status_code == 303
    page = client.get("/notifications").text
    assert "no &lt;b&gt;" in page
    assert client.post("/notifications/1/shout").status_code == 400
    assert client.post("/notifications/1/remove").status_code == 303
    assert client.post("/notifications/1/remove").status_code == 404


def test_the_form_of_a_job_offers_recipients(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    assert "Notify when it ends" not in client.get("/jobs/new").text
    client.post("/notifications", data=HOOK)
    client.post("/notifications", data={**HOOK, "name": "the lab."})
    page = client.get("/jobs/new").text
    assert "Notify when it ends" in page
    assert '<input type="checkbox" name="notify.the lab."> the lab.' in page
    form = {**to_form(submission), "notify.the lab.": "on"}
    checked = client.post("/jobs/new", data={**form, "do": "check"}).text
    assert 'name="notify.the lab." checked' in checked
    assert 'name="notify.team" checked' not in checked
    refused = client.post("/jobs/new", data={**form, "notify.gone": "on"})
    assert refused.status_code == 400
    assert "is not a recipient" in refused.text
    assert client.post("/jobs/new", data=form).status_code == 303
    assert notifications.told_of_job(database, 1) == {2}


@pytest.mark.parametrize(
    ("change", "status", "shown"),
    [
        ({"name": ""}, 400, 'id="problem-name"'),
        ({"address": "syslog://"}, 400, "is not a service that can be used"),
        ({"address": "ann@example.org"}, 400, "needs a mail server"),
        ({"jobs": "none"}, 400, "only jobs it is chosen for"),
        ({"more": "x"}, 400, "more"),
    ],
)
def test_a_bad_recipient_shows_the_form_again(
    client: FlaskClient, database: Database, change: dict[str, str], status: int, shown: str
) -> None:
    answer = client.post("/notifications", data={**HOOK, **change})
    assert answer.status_code == status
    assert shown in answer.text
    assert notifications.find(database) == []


def test_a_name_that_is_taken_is_a_conflict(client: FlaskClient) -> None:
    assert client.post("/notifications", data=HOOK).status_code == 201
    answer = client.post("/notifications", data=HOOK)
    assert answer.status_code == 409
    assert "There is a recipient named" in answer.text


def test_a_browser_asks_for_jobs_that_ended(client: FlaskClient, database: Database) -> None:
    first = client.get("/notifications/ended").json
    assert first is not None
    assert first["jobs"] == []
    assert client.get("/notifications/ended?after=nan").json["after"] > 1e9
    job = seed_job(database, name="<i>mine</i>")
    execute(database, f"UPDATE job SET finished_at = {first['after'] + 1}")
    found = client.get(f"/notifications/ended?after={first['after']}").json
    assert found["jobs"] == [
        {
            "id": job,
            "title": f"Job {job} succeeded",
            "name": "<i>mine</i>",
            "url": f"/jobs/{job}",
        }
    ]
    again = client.get(f"/notifications/ended?after={found['after']}").json
    assert again == {"after": found["after"], "jobs": []}
