"""Explain a text: a form, a job that goes first, a page that waits, the example."""

from __future__ import annotations

import html
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from db.queue import claims
from db.results import commit
from jobs.settings import Settings
from scheduler.loop import Scheduler
from tests.helpers.apps import new_app
from tests.helpers.jobs import ALICE, completed


class Quiet:
    """A broker that only takes messages."""

    connection_errors = (ConnectionError,)

    def connection_for_write(self) -> Quiet:
        return self

    def send_task(self, *_: object, **__: object) -> None:
        pass


@pytest.fixture
def scheduler(database: Database, settings: Settings) -> Scheduler:
    return Scheduler(settings, database, Quiet())  # type: ignore[arg-type]


@pytest.fixture
def filled(submission: dict[str, Any]) -> dict[str, str]:
    """A form as a browser sends it."""
    model = submission["spec"]["model"]["name"]
    return {"model": model, "text": " A good\r\nfilm. ", "second": "", "target": "predicted"}


def only_job(client: FlaskClient) -> dict[str, Any]:
    (job,) = client.get("/api/v1/jobs").json["jobs"]
    return dict(job)


def test_from_the_form_to_the_example(
    client: FlaskClient, database: Database, scheduler: Scheduler, filled: dict[str, str]
) -> None:
    answer = client.post("/explain", data=filled)
    assert (answer.status_code, answer.location) == (303, "/explain/1")
    page = client.get("/explain/1")
    assert page.status_code == 200
    assert 'data-poll="/api/v1/jobs/1"' in page.text
    assert 'data-then="/explain/1"' in page.text
    assert "A good film." in page.text
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    # The result is there when the shard is done, before the job is finished.
    done = client.get("/explain/1")
    assert (done.status_code, done.location) == (303, "/jobs/1/examples/0")
    assert client.get(done.location).status_code == 200


def test_the_job_is_one_row_and_goes_first(
    client: FlaskClient,
    database: Database,
    settings: Settings,
    scheduler: Scheduler,
    submission: dict[str, Any],
    filled: dict[str, str],
) -> None:
    assert client.post("/api/v1/jobs", json=submission).status_code == 201
    pair = {**filled, "second": "It was bad.", "target": "yes"}
    assert client.post("/explain", data=pair).location == "/explain/2"
    job = client.get("/api/v1/jobs/2").json
    assert (job["title"], job["priority"], job["examples"]) == ("A good film.", 100, 1)
    assert job["spec"]["target"] == "yes"
    assert not settings.uploads.exists()
    clone = client.get("/jobs/new?clone=2")
    assert (clone.status_code, clone.location) == (303, "/explain?clone=2")
    form = client.get(clone.location).text
    for part in (">A good\nfilm.</textarea>", ">It was bad.</textarea>", 'value="yes"'):
        assert part in form
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert held.job_id == 2


def test_it_goes_to_the_queue_that_is_served(settings: Settings, filled: dict[str, str]) -> None:
    app = new_app(settings.model_copy(update={"queue": "gpu"}))
    client = app.test_client()
    assert client.post("/explain", data=filled).status_code == 303
    assert only_job(client)["queue"] == "gpu"
    app.extensions["headwise"].database.close()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("text", "  ", "<strong>text</strong>: is empty"),
        ("text", "x" * 1_000_001, "more than 1,000,000 characters"),
        ("model", "", "<strong>model.name</strong>"),
        ("model", "/nowhere", "is outside the allowed folders"),
        ("target", "perhaps", "<strong>target</strong>: is not a label of the model"),
        ("target", "gold", "needs data.label_column"),
    ],
)
def test_bad_input_is_named_and_kept(
    client: FlaskClient, filled: dict[str, str], field: str, value: str, problem: str
) -> None:
    page = client.post("/explain", data={**filled, field: value})
    assert page.status_code == 400
    assert problem in page.text
    assert html.escape({**filled, field: value}["model"]) in page.text
    assert client.get("/api/v1/jobs").json["total"] == 0


def test_the_form_offers_models_that_were_used(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    assert "Explain a text</h1>" in client.get("/explain").text
    job = seeding.seed_job(database)
    model = "/home/ada/.headwise/models/demo-nli"
    assert f'<option value="{model}">' in client.get("/explain").text
    assert f'name="model" value="{model}"' in client.get(f"/explain?job={job}").text
    assert client.get("/explain?job=99").status_code == 404
    assert f"/explain?job={job}" in client.get(f"/jobs/{job}").text
    assert "/explain" in client.get("/").text


def test_a_job_that_ends_without_a_result_says_why(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, app: Flask
) -> None:
    job = seeding.seed_job(database, state="failed", done=0, error="out of memory")
    assert client.get(f"/explain/{job}").location == f"/jobs/{job}"
    assert client.get("/explain/99").status_code == 404
