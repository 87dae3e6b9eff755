"""A head's matrices on its page and in the API: asked for, computed, stored, drawn."""

from __future__ import annotations

import csv
import io
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from db.queue import claims
from db.results import commit
from jobs.settings import Settings
from scheduler.figures import attribution
from scheduler.loop import Scheduler
from tests.helpers.jobs import ALICE, HEADS, completed
from tests.helpers.matrices import TOKENS, matrix_of, seed_matrix, store
from tests.helpers.scheduling import Quiet
from tests.helpers.statements import queries
from tests.webui.api.answers import problems

PAGE = "/jobs/1/heads/1/0"
ADDRESS = "/api/v1/jobs/1/examples/2/heads/1/0/matrix"


@pytest.fixture
def scheduler(database: Database, settings: Settings) -> Scheduler:
    return Scheduler(settings, database, Quiet())  # type: ignore[arg-type]


@pytest.fixture
def job(
    client: FlaskClient, database: Database, scheduler: Scheduler, submission: dict[str, Any]
) -> int:
    """A finished attribution job of three texts."""
    answer = client.post("/api/v1/jobs", json=submission)
    assert answer.status_code == 201, answer.text
    scheduler.tick()
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    scheduler.tick()
    return int(answer.json["job"]["id"])


@pytest.fixture
def stored(client: FlaskClient, database: Database, scheduler: Scheduler, job: int) -> int:
    """The job, with the matrices of a layer on example 2."""
    assert client.post(ADDRESS).status_code == 201
    scheduler.tick()
    store(database, 1, range(HEADS))
    return job


def test_one_click_computes_and_the_page_waits_and_shows(
    client: FlaskClient, database: Database, scheduler: Scheduler, job: int
) -> None:
    page = client.get(f"{PAGE}?example=2").text
    assert "Compute for this example" in page
    assert 'data-refresh="1"' not in page
    (action,) = re.findall(r'<form method="post" action="([^"]*/matrix)"', page)
    answer = client.post(action, data={"example": "2", "attention_type": "encoder"})
    assert (answer.status_code, answer.location) == (303, f"{PAGE}?example=2#matrix")
    page = client.get(f"{PAGE}?example=2").text
    assert 'id="matrix" data-refresh="1"' in page
    assert '<a href="/jobs/2">Job 2</a> computes it' in page
    scheduler.tick()
    store(database, 1, range(HEADS))
    page = client.get(f"{PAGE}?example=2").text
    assert 'data-refresh="1"' not in page
    assert "Compute for this example" not in page
    assert "figures/matrix?example=2&amp;head=L1+H0&amp;format=svg" in page
    assert "data-from=" in page
    # The table has the row of the largest cell, and any other.
    assert "(token 2) reads" in page
    rows = re.findall(r"<tr><td class=\"num\">(\d)</td>", page)
    assert rows == [str(one) for one in range(TOKENS)]
    assert "(token 0) reads" in client.get(f"{PAGE}?example=2&row=0").text
    assert client.get(f"{PAGE}?example=2&row=4").status_code == 400
    # The other heads of the layer came with it.
    assert "data-from=" in client.get("/jobs/1/heads/1/1?example=2").text


def test_the_page_begins_with_the_example_where_the_head_is_strongest(
    client: FlaskClient, job: int
) -> None:
    strongest = client.get("/api/v1/jobs/1/heads/1/0").json["strongest"][0]["example"]
    assert f"on example {strongest}</h2>" in client.get(PAGE).text
    assert client.get(f"{PAGE}?example=99").status_code == 404


def test_the_api_starts_one_job_and_then_has_the_numbers(
    client: FlaskClient, database: Database, scheduler: Scheduler, job: int
) -> None:
    answer = client.get(ADDRESS).json
    assert (answer["state"], answer["job"], answer["attention"]) == ("absent", None, None)
    answer = client.post(ADDRESS)
    assert (answer.status_code, answer.json["state"], answer.json["job"]) == (201, "computing", 2)
    answer = client.post(ADDRESS)
    assert (answer.status_code, answer.json["job"]) == (200, 2)
    (quick,) = client.get("/api/v1/jobs?quick=true").json["jobs"]
    assert quick["id"] == 2
    scheduler.tick()
    store(database, 1, range(HEADS))
    answer = client.get(ADDRESS).json
    want = matrix_of(1, 0)
    assert answer["head"] == "L1 H0"
    assert answer["state"] == "stored"
    assert answer["tokens"] == ["[CLS]", "a", "b", "[SEP]"]
    assert answer["attention"] == want.attention.tolist()
    assert answer["attribution"] == want.attribution.tolist()
    assert client.post(ADDRESS).status_code == 200


def test_the_figure_has_every_cell_in_every_format(client: FlaskClient, stored: int) -> None:
    figures = client.get("/api/v1/jobs/1/figures").json["figures"]
    (choices,) = (one["choices"] for one in figures if one["name"] == "matrix")
    assert [one["value"] for one in choices["example"]] == ["2"]
    assert [one["value"] for one in choices["head"]] == [f"L1 H{head}" for head in range(HEADS)]
    address = "/api/v1/jobs/1/figures/matrix?example=2&head=L1+H1"
    text = client.get(f"{address}&format=csv").text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == TOKENS**2
    want = matrix_of(1, 1)
    for row in rows:
        place = int(row["query"]), int(row["key"])
        assert float(row["attention"]) == pytest.approx(want.attention[place], rel=1e-5)
        assert float(row["attribution"]) == pytest.approx(want.attribution[place], rel=1e-5)
    assert (rows[1]["query_token"], rows[1]["key_token"]) == ("[CLS]", "a")
    drawn = json.loads(client.get(f"{address}&format=json").text)
    assert "job 1" in drawn["usermeta"]["headwise"]["caption"].lower()
    assert client.get(f"{address}&format=svg").text.startswith("<svg")


def test_a_matrix_is_read_once(client: FlaskClient, app: Flask, stored: int) -> None:
    database = app.extensions["headwise"].database
    for address, most in (
        (f"{PAGE}?example=2", 1),
        (ADDRESS, 1),
        ("/api/v1/jobs/1/figures/matrix?example=2&head=L1+H1", 2),  # the choices, and one of them
    ):
        with queries(database) as sent:
            assert client.get(address).status_code == 200
        assert len([one for one in sent if "FROM head_matrix" in one]) == most, address


def test_what_is_wrong_names_the_remedy(
    client: FlaskClient, database: Database, job: int, seeding: SimpleNamespace
) -> None:
    figure = "/api/v1/jobs/1/figures/matrix?example=2&head=L1+H1"
    (problem,) = problems(client.get(figure), 404)
    assert "`headwise matrix`, the head's page" in problem["message"]
    for choices, field in (("example=x&head=L1+H1", "example"), ("example=2&head=L1+H9", "head")):
        (problem,) = problems(client.get(f"/api/v1/jobs/1/figures/matrix?{choices}"), 400)
        assert problem["field"] == field
    problems(client.get("/api/v1/jobs/1/figures/matrix"), 404)
    for address in ("1/examples/99/heads/1/0", "1/examples/2/heads/1/9", "9/examples/2/heads/1/0"):
        assert client.post(f"/api/v1/jobs/{address}/matrix").status_code == 404
        assert client.get(f"/api/v1/jobs/{address}/matrix").status_code == 404
    with database.write() as tx:
        tx.run("UPDATE example SET text_a = NULL")
    (problem,) = problems(client.post(ADDRESS), 400)
    assert "not stored any more" in problem["message"]
    form = {"example": "2", "attention_type": "encoder"}
    page = client.get(f"{PAGE}?example=2").text
    assert "not stored any more. Explain the text in the lab" in page
    assert "Compute for this example" not in page
    page = client.post(f"{PAGE}/matrix", data=form)
    assert page.status_code == 400
    assert "not stored any more" in page.text
    assert client.post(f"{PAGE}/matrix", data={"example": "x"}).status_code == 400
    assert client.post(f"{PAGE}/matrix", data={"attention_type": "sideways"}).status_code == 404


def test_a_request_that_is_sent_again_submits_nothing(
    client: FlaskClient, database: Database, job: int
) -> None:
    key = {"Idempotency-Key": "matrix-of-2"}
    first, again = (client.post(ADDRESS, headers=key) for _ in range(2))
    assert (first.status_code, first.json["state"], first.json["job"]) == (201, "computing", 2)
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert client.post(ADDRESS).status_code == 200  # another request: it is on its way
    asked = database.rows("SELECT action, object, detail FROM audit ORDER BY id")[-2:]
    assert [(one["action"], one["object"]) for one in asked] == [
        ("compute matrix", "job 2"),
        ("compute matrix", "job 1"),
    ]
    assert json.loads(asked[0]["detail"]) == {"example_no": 2, "layer": 1, "head": 0}


def test_many_matrices_are_listed_by_pages_and_offered_in_part(
    client: FlaskClient, database: Database, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "LISTED", 2)
    places = [(example, site, head) for example in (0, 2) for site in (0, 1) for head in (0, 2)]
    for example, site, head in reversed(places):
        seed_matrix(database, job, example, site, head)
    found, address = [], f"/api/v1/jobs/{job}/matrices?limit=3"
    while address:
        page = client.get(address).json
        found += page["matrices"]
        address = page["next"]
    assert [(one["example"], one["layer"], one["head"]) for one in found] == places
    assert [one["name"] for one in found[:3]] == ["L0 H0", "L0 H2", "L1 H0"]
    listed = client.get(f"/api/v1/jobs/{job}/figures").json["figures"]
    (choices,) = [one["choices"] for one in listed if one["name"] == "matrix"]
    values = {name: [value["value"] for value in offered] for name, offered in choices.items()}
    assert values == {"example": ["0"], "head": ["L0 H0", "L0 H2"]}
    figure = f"/api/v1/jobs/{job}/figures/matrix?example=2&head=L1+H2&format=csv"
    assert client.get(figure).status_code == 200
    problems(client.get("/api/v1/jobs/99/matrices"), 404)
    problems(client.get(f"/api/v1/jobs/{job}/matrices?cursor=WzFd"), 400)
