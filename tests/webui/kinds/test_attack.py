"""The pages of attack jobs, their form, and attacks by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from db.queue import claims
from db.results import commit
from jobs.kinds.attack import AttackSpec
from jobs.outcome import Completed
from jobs.settings import Settings
from jobs.specs.submission import parse_spec
from scheduler.loop import Scheduler
from tests.helpers.attack_jobs import (
    attack_spec,
    commit_shards,
    finished_attack,
    made_up,
    planned_attack,
    source_job,
)
from tests.helpers.inputs import model_folder
from tests.helpers.jobs import ALICE
from tests.helpers.scheduling import Quiet
from webui.pages.jobs.new_job import defaults, to_form, to_submission


@pytest.fixture
def scheduler(database: Database, settings: Settings) -> Scheduler:
    return Scheduler(settings, database, Quiet())  # type: ignore[arg-type]


@pytest.fixture
def source(database: Database, submission: dict[str, Any]) -> int:
    """An attribution job on the model of `submission`."""
    job = source_job(database)
    spec = parse_spec(submission["spec"]).model_dump(mode="json")
    with database.write() as tx:
        own = update(schema.job).where(schema.job.c.id == job)
        tx.execute(own.values(spec=json.dumps(spec), name="mined from"))
    return job


def plain(page: str) -> str:
    """A page's text in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_job_s_page_has_the_best_triggers_beside_their_controls(
    client: FlaskClient, database: Database, source: int
) -> None:
    job = finished_attack(database, attack_spec(source))
    page = client.get(f"/jobs/{job}").text
    text = plain(page)
    assert "3 mined triggers, 3 random controls, 3 attention controls;" in text
    assert "Gold label no" in text
    assert "Mined mean 36.1 %, best 50.0 %" in text
    assert "Random control mean 0.0 %, best 0.0 %" in text
    first = re.search(r"<tr><td class=\"num\">1</td>.*?</tr>", page, re.DOTALL)
    assert first is not None
    row = plain(first[0])
    assert row.startswith("1 flor | iowa no 100.0 % → 50.0 %")
    assert row.endswith("2 → yes 4")
    assert "Transfer" not in text
    assert f"/jobs/{job}/export/trigger_results.csv" in page


def test_a_page_before_results_and_with_some(
    client: FlaskClient, database: Database, source: int
) -> None:
    spec = attack_spec(source)
    job = planned_attack(database, spec)
    assert "No results yet." in client.get(f"/jobs/{job}").text
    assert "No results yet." in client.get(f"/jobs/{job}/triggers/0").text
    assert "Not known yet" in client.get(f"/jobs/{job}/triggers/6").text
    commit_shards(database, spec, most=1)
    assert "provisional" in client.get(f"/jobs/{job}").text


def test_other_models_have_tabs_and_a_heat_map(
    client: FlaskClient, database: Database, source: int
) -> None:
    spec = attack_spec(source, models=[{"name": "/models/other"}])
    job = finished_attack(database, spec)
    text = plain(client.get(f"/jobs/{job}?model=1").text)
    transfer = text[text.index("Success by trigger and model") :]
    assert transfer.startswith("Success by trigger and model Trigger tiny other all mined")
    assert "all random controls 0.0 % 0.0 %" in transfer
    assert "Becomes" in text
    assert client.get(f"/jobs/{job}?model=2").status_code == 400


def test_a_trigger_s_page_says_where_it_came_from_and_what_it_turns(
    client: FlaskClient, database: Database, source: int
) -> None:
    job = finished_attack(database, attack_spec(source))
    page = client.get(f"/jobs/{job}/triggers/1").text
    text = plain(page)
    assert "Support 1 example Strength 0.875" in text
    assert "##ida florida first 100 %" in text
    assert f'href="/jobs/{source}/examples/1"' in page
    assert "L0 H1: token 4 reads 1 (0.750)" in text
    assert "text 2 second 2 no yes 75.0 %" in text
    assert f'href="/jobs/{job}/triggers/4"' in page
    control = plain(client.get(f"/jobs/{job}/triggers/4").text)
    assert "random control of trigger 1" in control
    assert client.get(f"/jobs/{job}/triggers/9").status_code == 404
    assert client.get("/jobs/99/triggers/0").status_code == 404


def test_the_views_as_csv(client: FlaskClient, database: Database, source: int) -> None:
    job = finished_attack(database, attack_spec(source))
    for view, rows in (("trigger_results", 18), ("triggers", 9), ("trigger_outcomes", 63)):
        table = client.get(f"/jobs/{job}/export/{view}.csv").text
        assert len(list(csv.DictReader(io.StringIO(table)))) == rows


def test_the_api_s_triggers(client: FlaskClient, database: Database, source: int) -> None:
    job = finished_attack(database, attack_spec(source))
    body = client.get(f"/api/v1/jobs/{job}/triggers").json
    assert body["provisional"] is False
    assert len(body["triggers"]) == body["total"] == 9
    pages = [client.get(f"/api/v1/jobs/{job}/triggers?limit=5").json]
    pages.append(client.get(pages[0]["next"]).json)
    assert [len(page["triggers"]) for page in pages] == [5, 4]
    assert [*pages[0]["triggers"], *pages[1]["triggers"]] == body["triggers"]
    assert pages[1]["next"] is None
    last = client.get(f"/api/v1/jobs/{job}/triggers/8").json
    assert last["trigger"] == body["triggers"][8]
    first = body["triggers"][0]
    assert (first["trigger"], first["kind"], first["origin_example"]) == (0, "mined", 3)
    assert first["tokens"][0] == ["flor", 0, 0.75, "florida"]
    assert first["results"][0]["flipped"] == [0, 2]
    assert first["results"][0]["success"][0] == 0.5
    assert client.get("/api/v1/jobs/99/triggers").status_code == 404


@pytest.fixture
def filled(submission: dict[str, Any], source: int) -> dict[str, str]:
    """A form as a browser sends it."""
    data = submission["spec"]["data"]
    return {
        **defaults("attack"),
        "kind": "attack",
        "triggers_from": str(source),
        "data.path": data["path"],
        "data.text_columns": "text",
        "data.label_column": "label",
    }


def test_the_form_takes_the_attribution_job_s_model(
    client: FlaskClient, database: Database, filled: dict[str, str], source: int
) -> None:
    page = client.get("/jobs/new?kind=attack").text
    assert f'<option value="{source}">mined from</option>' in page
    estimate = client.post("/jobs/new/check", data=filled).json["estimate"]
    assert (estimate["examples"], estimate["shards"]) == (3, 1)
    answer = client.post("/jobs/new", data=filled)
    assert answer.status_code == 303
    job = client.get(f"/api/v1{answer.location.split('?')[0]}").json
    assert job["spec"]["model"] == client.get(f"/api/v1/jobs/{source}").json["spec"]["model"]
    assert job["parents"] == [source]
    clone = client.get(f"/jobs/new?clone={job['id']}").text
    assert 'name="triggers_from" aria-describedby' in clone


def test_the_form_says_all_that_a_specification_can() -> None:
    spec = attack_spec(
        3,
        rule={"per_class": None, "one_head": False, "label": "gold", "cells": 4},
        controls={"random": False, "seed": 7},
        given=[[["big", "ice"], ["iowa"]], [["now"]]],
        insertion="text",
        models=[{"name": "/models/other"}, {"name": "org/model"}],
        outcomes=False,
    )
    form = to_form({"spec": spec.model_dump(mode="json")})
    assert parse_spec(to_submission({**defaults("attack"), **form})["spec"]) == spec


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"triggers_from": ""}, "model.name"),
        ({"triggers_from": "", "model.name": "org/model"}, "needs “Mined from”"),
        ({"triggers_from": "77"}, "there is no such job"),
        ({"triggers_from": "x"}, "must be a whole number"),
        ({"data.label_column": ""}, "needs “Label column”"),
        ({"rule.per_class": "0"}, "rule.per_class"),
        ({"rule.threshold": "-1"}, "must be at least 0"),
        ({"insertion": "letters"}, "must be"),
        ({"given": "big ice"}, "insertion must be"),
        ({"given": "big | ice", "insertion": "text"}, "data has one column"),
        ({"given": "|", "insertion": "text"}, "1 to 50 words"),
        ({"models": "/nowhere"}, "outside the allowed folders"),
    ],
)
def test_bad_input_is_refused(
    client: FlaskClient, filled: dict[str, str], changes: dict[str, str], problem: str
) -> None:
    page = client.post("/jobs/new", data={**filled, **changes})
    assert page.status_code == 400
    assert problem in page.text
    assert client.get("/api/v1/jobs").json["total"] == 1


def test_another_model_must_have_the_same_labels(
    client: FlaskClient, settings: Settings, submission: dict[str, Any], source: int
) -> None:
    folder = model_folder(settings.home / "models" / "three")
    spec = {
        **submission["spec"],
        "kind": "attack",
        "triggers_from": source,
        "models": [{"name": str(folder)}],
    }
    answer = client.post("/api/v1/jobs", json={"spec": spec})
    assert answer.status_code == 400
    (problem,) = answer.json["problems"]
    assert problem["field"] == "models.0.name"
    assert "other labels than the job's model: no, maybe, yes" in problem["message"]


@pytest.fixture
def typed(submission: dict[str, Any]) -> dict[str, str]:
    """The form of an attack by hand."""
    return {
        "model": submission["spec"]["model"]["name"],
        "text": "the cat sings",
        "words": "rain",
        "second": "a dog runs",
        "second_words": "old snow",
    }


def test_from_the_words_to_the_probabilities(
    client: FlaskClient, database: Database, scheduler: Scheduler, typed: dict[str, str]
) -> None:
    answer = client.post("/attack/try", data=typed)
    assert (answer.status_code, answer.location) == (303, "/attack/try/1")
    waiting = client.get("/attack/try/1").text
    assert 'data-then="/attack/try/1"' in waiting
    job = client.get("/api/v1/jobs/1").json
    assert (job["priority"], job["title"]) == (100, "rain | old snow: the cat sings")
    assert job["title"] in waiting
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    shard = commit.read_shard(database, held)
    assert [token.word for token in shard.planned[0].tokens] == ["rain", "old", "snow"]
    spec = parse_spec(json.loads(shard.spec))
    assert isinstance(spec, AttackSpec)
    result = made_up(held.lo, held.hi, shard.planned, spec, shard.gold)
    assert commit.commit_shard(database, held, Completed(parts=(result,), seconds=0.5), "model")
    page = client.get("/attack/try/1").text
    assert "<h1>no → yes</h1>" in page
    assert "<p>the cat <mark>rain</mark> sings </p>" in page
    assert "<p>a dog <mark>old</mark> <mark>snow</mark> runs </p>" in page
    assert plain(page).count("75.0 %") == 2
    again = client.get("/attack/try?job=1&trigger=0").text
    assert 'value="rain"' in again
    assert 'value="old snow"' in again
    assert "the cat sings" not in again
    clone = client.get("/jobs/new?clone=1")
    assert (clone.status_code, clone.location) == (303, "/attack/try?clone=1")
    again = client.get(clone.location).text
    for part in ('value="rain"', 'value="old snow"', ">the cat sings</textarea>", ">a dog runs<"):
        assert part in again
    placed = {**typed, "positions": "0", "second_positions": "0.25, 1"}
    assert client.post("/attack/try", data=placed).location == "/attack/try/2"
    again = client.get("/attack/try?clone=2").text
    assert 'name="positions" value="0"' in again
    assert 'name="second_positions" value="0.25 1"' in again


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text": " "}, "<strong>text</strong>: is empty"),
        ({"words": "", "second_words": ""}, "<strong>words</strong>: is empty"),
        ({"second": ""}, "there is no second text"),
        ({"words": "x" * 101}, "1 to 100 characters"),
        ({"positions": "2"}, "<strong>positions</strong>: must be one number from 0 to 1"),
        ({"model": "/nowhere"}, "is outside the allowed folders"),
    ],
)
def test_bad_words_are_named_and_kept(
    client: FlaskClient, typed: dict[str, str], changes: dict[str, str], problem: str
) -> None:
    page = client.post("/attack/try", data={**typed, **changes})
    assert page.status_code == 400
    assert problem in page.text
    assert {**typed, **changes}["words"] in page.text
    assert client.get("/api/v1/jobs").json["total"] == 0


def test_what_is_no_attack_text(client: FlaskClient, source: int) -> None:
    assert client.get(f"/attack/try/{source}").status_code == 404
    assert client.get("/attack/try?job=99").status_code == 404
    assert "Try an attack</h1>" in client.get("/attack/try").text
