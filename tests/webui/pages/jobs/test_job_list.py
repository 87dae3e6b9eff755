"""The list of jobs and actions on many of them, without scripts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.queue import lifecycle
from db.reads import job_list
from db.reads import jobs as job_reads
from jobs.states import JobState
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import planned_job
from tests.helpers.queue import claim, finish_all


def titles(page: str) -> list[str]:
    """The numbers of the jobs in the table."""
    return re.findall(r'<a class="title" href="/jobs/(\d+)"', page)


def named(database: Database, *names: str, **more: Any) -> list[int]:
    return [planned_job(database, 2, 2, name=name, **more) for name in names]


def test_thirty_jobs_fill_two_pages_there_and_back(client: FlaskClient, database: Database) -> None:
    named(database, *(f"job {n:02}" for n in range(30)))
    first = client.get("/?sort=name").text
    assert titles(first) == [str(n) for n in range(1, 26)]
    (after,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = client.get(after.replace("&amp;", "&")).text
    assert titles(second) == ["26", "27", "28", "29", "30"]
    assert 'rel="next"' not in second
    (before,) = re.findall(r'rel="prev" href="([^"]+)"', second)
    back = client.get(before.replace("&amp;", "&")).text
    assert titles(back) == titles(first)
    assert 'rel="prev"' not in back
    assert "30 jobs" in first


def test_one_worker_executes_one_job(client: FlaskClient, database: Database) -> None:
    named(database, *"abc")
    claim(database)
    page = client.get("/").text
    assert page.count("chip-executing") == 1
    assert page.count("chip-waiting") == 2
    assert 'value="executing">executing (1)' in page
    assert titles(client.get("/?phase=executing").text) == ["1"]
    # Nothing ticks that nobody works on.
    assert page.count("data-running") == 0


def test_columns_and_order_are_in_the_address(client: FlaskClient, database: Database) -> None:
    named(database, "b", "a")
    page = client.get("/?column=user&column=ended&sort=-name&quick=all").text
    assert 'data-label="User"' in page
    assert 'data-label="Kind"' not in page
    assert titles(page) == ["1", "2"]
    assert 'aria-sort="descending"' in page
    assert "column=user&amp;column=ended" in page
    # Sorting again turns it round; the other choices stay.
    assert "sort=name&amp;column=user" in page
    assert '<input type="hidden" name="sort" value="-name">' in page


def test_quick_jobs_are_apart(client: FlaskClient, database: Database) -> None:
    named(database, "whole", "one text")
    execute(database, "UPDATE job SET quick = (1 = 1) WHERE id = 2")
    assert titles(client.get("/").text) == ["1"]
    assert titles(client.get("/?quick=1").text) == ["2"]
    assert titles(client.get("/?quick=all").text) == ["2", "1"]
    assert 'Quick jobs <span class="num">1<' in client.get("/").text


def study(database: Database) -> list[int]:
    jobs = named(database, "paper: attribution", "paper: taylor")
    execute(database, "INSERT INTO study (id, name, user_name, created_at) VALUES (3, 'p', 'x', 1)")
    for place, job in enumerate(jobs):
        execute(
            database,
            "INSERT INTO study_step (study_id, step, position, job_id) "
            f"VALUES (3, 's{place}', {place}, {job})",
        )
        execute(database, f"UPDATE job SET place = {max(jobs)} WHERE id = {job}")
    return jobs


def test_a_study_folds_unless_something_is_looked_for(
    client: FlaskClient, database: Database
) -> None:
    jobs = study(database)
    named(database, "alone")
    page = client.get("/").text
    assert page.count('<tbody data-key="study-3"') == 1
    assert "2 waiting" in page
    assert page.count('class="member"') == 2
    assert f'name="jobs" value="{jobs[1]},{jobs[0]}"' in page
    found = client.get("/?q=taylor").text
    assert "study-3" not in found
    assert '<a href="/studies/3">study p</a>' in found


def act(client: FlaskClient, action: str, *jobs: object, **more: str) -> str:
    answer = client.post(
        "/jobs/actions", data={"action": action, "job": list(map(str, jobs)), **more}
    )
    assert answer.status_code == 200, answer.text
    return answer.text


def test_each_job_says_what_happened(client: FlaskClient, database: Database) -> None:
    named(database, "done")
    finish_all(database)
    named(database, "one", "two")
    page = act(client, "pause", 1, 2, 3, 99, back="sort=name&next=//evil")
    assert "2 jobs done, 2 refused" in page
    assert "Job 1 has already ended (succeeded)." in page
    assert "There is no job 99." in page
    assert page.count("pauses.") == 2
    assert 'href="/?sort=name"' in page
    assert rows(database, "SELECT id, control FROM job ORDER BY id") == [
        (1, "run"),
        (2, "pause"),
        (3, "pause"),
    ]
    act(client, "resume", 2)
    act(client, "priority", 2, 3, priority="7")
    act(client, "cancel", "2,3")
    lifecycle.sweep_jobs(database)
    states = rows(database, "SELECT control, priority, state FROM job WHERE id > 1 ORDER BY id")
    assert states == [("cancel", 7, "cancelled"), ("cancel", 7, "cancelled")]
    assert "3 jobs done" in act(client, "delete", 1, 2, 3)
    assert job_list.list_jobs(database) == []
    log = rows(database, "SELECT action, object, detail FROM audit ORDER BY id")
    assert log[:4] == [
        ("pause job", "job 1", '{"refused": true}'),
        ("pause job", "job 2", "{}"),
        ("pause job", "job 3", "{}"),
        ("pause job", "job 99", '{"refused": true}'),
    ]
    assert ("change job", "job 3", "{}") in log
    assert ("delete job", "job 1", "{}") in log


def test_jobs_of_a_study_are_ticked_together(client: FlaskClient, database: Database) -> None:
    one, other = study(database)
    answer = client.post("/jobs/actions", data={"action": "pause", "jobs": f"{one},{other}"})
    assert "2 jobs done" in answer.text


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"action": "pause"}, "jobs"),
        ({"action": "pause", "job": "x"}, "jobs"),
        ({"action": "pauze", "job": "1"}, "action"),
        ({"job": "1"}, "action"),
        ({"action": "priority", "job": "1"}, "priority"),
        ({"action": "priority", "job": "1", "priority": "1000"}, "priority"),
        ({"action": "pause", "job": [str(n) for n in range(501)]}, "jobs"),
    ],
)
def test_what_cannot_be_carried_out(client: FlaskClient, form: dict[str, Any], field: str) -> None:
    answer = client.post("/jobs/actions", data=form)
    assert answer.status_code == 400
    assert f"<strong>{field}</strong>" in answer.text


def test_a_job_that_failed_is_submitted_again(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    job = client.post("/api/v1/jobs", json=submission).json["job"]["id"]
    assert "has not failed: it is queued" in act(client, "retry", job)
    execute(database, f"UPDATE job SET state = 'failed', finished_at = 1 WHERE id = {job}")
    page = act(client, "retry", job)
    assert '<a href="/jobs/2">job 2</a>' in page
    new = job_reads.get_job(database, 2)
    assert (new.state, new.spec) == (JobState.QUEUED, job_reads.get_job(database, job).spec)
    assert new.name == submission["name"]


def test_a_failed_job_is_retried_on_its_page(
    client: FlaskClient, database: Database, submission: dict[str, Any]
) -> None:
    job = client.post("/api/v1/jobs", json=submission).json["job"]["id"]
    assert ">Retry<" not in client.get(f"/jobs/{job}").text
    assert client.post(f"/jobs/{job}/retry").status_code == 409
    execute(database, f"UPDATE job SET state = 'failed', finished_at = 1 WHERE id = {job}")
    page = client.get(f"/jobs/{job}").text
    assert f'action="/jobs/{job}/retry"><button>Retry</button>' in page
    assert 'Attribution of <strong class="break">tiny</strong> on <strong class="break">' in page
    answer = client.post(f"/jobs/{job}/retry")
    assert (answer.status_code, answer.location) == (303, "/jobs/2")
    assert job_reads.get_job(database, 2).name == submission["name"]


def test_the_api_acts_on_many_jobs_and_counts_them(client: FlaskClient, database: Database) -> None:
    named(database, "one", "two")
    body = {"action": "pause", "jobs": [2, 1, 2, 9]}
    answer = client.post("/api/v1/jobs/actions", json=body).json
    assert [(one["job"], one["done"]) for one in answer["outcomes"]] == [
        (2, True),
        (1, True),
        (9, False),
    ]
    listed = client.get("/api/v1/jobs?phase=paused&sort=name&limit=1").json
    assert ([one["id"] for one in listed["jobs"]], listed["total"]) == ([1], 2)
    assert listed["facets"]["phase"] == {"paused": 2}
    assert [one["id"] for one in client.get(listed["next"]).json["jobs"]] == [2]
    assert listed["jobs"][0]["status"] == "paused"
    for bad in (
        {"action": "pause", "jobs": []},
        {"action": "burn", "jobs": [1]},
        {"action": "priority", "jobs": [1], "priority": 101},
        {"action": "pause", "jobs": ["1"]},
    ):
        assert client.post("/api/v1/jobs/actions", json=bad).status_code == 400, json.dumps(bad)
