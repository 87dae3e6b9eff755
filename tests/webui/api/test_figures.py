"""Figures in the API: which there are, their numbers in every format, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.reads import results
from db.results import rankings
from headwise.figures import FORMS, Figure
from jobs.errors import UnavailableError
from tests.helpers.attack_jobs import attack_spec, finished_attack, source_job
from tests.helpers.pruning_jobs import source_job as ranked_job
from tests.webui.api.answers import problems
from webui.figures import drawing

API = "/api/v1/jobs"


@pytest.fixture
def ranked(database: Database) -> int:
    """A job with rankings by several sources."""
    return ranked_job(database, {})


@pytest.fixture
def job(database: Database, seeding: SimpleNamespace) -> int:
    found: int = seeding.seed_job(database)
    return found


def figure(client: FlaskClient, job: int, name: str, query: str = "") -> Figure:
    """A figure as a client reads it."""
    answer = client.get(f"{API}/{job}/figures/{name}?format=json{query}")
    assert answer.status_code == 200, answer.text
    return Figure.from_spec(answer.json)


def test_every_figure_that_is_listed_can_be_drawn(client: FlaskClient, ranked: int) -> None:
    listed = client.get(f"{API}/{ranked}/figures").json["figures"]
    assert [one["name"] for one in listed] == [
        *("heads", "completeness", "scores", "ranks", "correlation", "matrix")
    ]
    for one in listed[:-1]:  # no matrix was computed yet
        for name, values in one["choices"].items():
            for choice in {value["value"] for value in (values[0], values[-1])}:
                assert figure(client, ranked, one["name"], f"&{name}={choice}").rows


def test_the_numbers_are_those_that_are_stored(
    client: FlaskClient, database: Database, job: int
) -> None:
    stored = results.get_importance(database, job).heads
    for measure in ("mean", "mean_total"):
        text = client.get(f"{API}/{job}/figures/heads?format=csv&measure={measure}").text
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [float(row[measure]) for row in rows] == [getattr(one, measure) for one in stored]
        assert [int(row["rank"]) for row in rows] == [one.rank for one in stored]
    lows = [row["mean_low"] for row in figure(client, job, "heads").rows]
    assert lows == [one.low for one in stored]
    scores = figure(client, job, "scores", "&layer=2&head=3").rows
    examples = results.head_scores(database, job, 2, 3, 12)
    assert sum(row["count"] for row in scores) == len(examples)
    assert scores[0]["low"] == min(examples)


def test_captions_name_the_job(client: FlaskClient, job: int) -> None:
    assert f"job {job}, result" in figure(client, job, "heads").caption
    assert "rtol 0.001" in figure(client, job, "completeness").caption
    assert "n = 11" in figure(client, job, "heads").caption


@pytest.mark.parametrize("form", FORMS)
def test_files(client: FlaskClient, job: int, form: str) -> None:
    answer = client.get(f"{API}/{job}/figures/heads?format={form}")
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF-", "csv": b"name,", "json": b"{"}
    assert answer.data.startswith(begins[form])
    assert f'filename="headwise-job-{job}-heads.{form}"' in answer.headers["Content-Disposition"]
    if form == "png":
        width, height = struct.unpack(">II", answer.data[16:24])
        assert width > height > 200
    if form == "svg":
        assert b"Attribution score, probability" in answer.data
        assert client.get(f"{API}/{job}/figures/heads").data == answer.data


def test_a_heat_map_leads_nowhere_outside_the_dashboard(client: FlaskClient, job: int) -> None:
    assert "href" not in client.get(f"{API}/{job}/figures/heads?format=json").text


def test_two_rankings(client: FlaskClient, database: Database, ranked: int) -> None:
    other = "attattr-total"
    found = figure(client, ranked, "correlation", f"&source=attattr&with={ranked}.{other}")
    for name, source in (("one", "attattr"), ("other", other)):
        means = rankings.get_means(database, ranked, source)
        assert [row[name] for row in found.rows] == means.ravel().tolist()
    api = client.get(f"{API}/{ranked}/correlation?source=attattr&job={ranked}&by={other}").json
    assert [(row["one"], row["other"]) for row in found.rows] == [
        (point["one"], point["other"]) for point in api["points"]
    ]
    assert f"AttAttr, job {ranked}" in found.title


def test_ranks_with_their_intervals(client: FlaskClient, database: Database, ranked: int) -> None:
    stored, _ = rankings.get_rankings(database, ranked)
    found = [
        (row["rank"], row["rank_low"], row["rank_high"])
        for row in figure(client, ranked, "ranks").rows
    ]
    assert found == [(one.rank, one.rank_low, one.rank_high) for one in stored]


def test_triggers(client: FlaskClient, database: Database) -> None:
    source = source_job(database)
    job = finished_attack(database, attack_spec(source))
    listed = client.get(f"{API}/{job}/figures").json["figures"]
    assert [one["name"] for one in listed] == ["triggers"]
    for label in listed[0]["choices"]["label"]:
        found = figure(client, job, "triggers", f"&label={label['value']}")
        assert label["title"] in found.title
        stored = client.get(f"{API}/{job}/triggers").json["triggers"]
        for row in found.rows:
            own = next(
                one
                for one in stored[row["number"]]["results"]
                if (one["gold"], one["model"]) == (int(label["value"]), 0)
            )
            assert [row["success"], row["success_low"], row["success_high"]] == own["success"]
            assert row["trigger"] == stored[row["number"]]["text"]


def test_what_is_refused(client: FlaskClient, database: Database, job: int, seeding: Any) -> None:
    for path, status, field in (
        ("heads?format=gif", 400, "format"),
        ("heads?measure=weight", 400, "measure"),
        ("heads?direction=least", 400, "direction"),
        ("completeness?measure=mean", 400, "measure"),
        ("scores?layer=99", 400, "layer"),
        ("correlation?with=7", 400, "with"),
        ("heads?colour=red", 400, "colour"),
        ("curve", 404, "request"),
        ("x" * 300, 404, "request"),
    ):
        (problem,) = problems(client.get(f"{API}/{job}/figures/{path}"), status)
        assert problem["field"] == field, path
    problems(client.get(f"{API}/99/figures"), 404)
    problems(client.get(f"{API}/99/figures/heads"), 404)
    queued = seeding.seed_job(database, state="queued")
    for name in ("heads", "completeness", "ranks", "correlation", "scores"):
        (problem,) = problems(client.get(f"{API}/{queued}/figures/{name}"), 404)
        assert f"Job {queued}" in problem["message"]


def test_a_process_that_dies_is_an_error(
    client: FlaskClient, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_PROCESS", "webui.figures.no_such_module")
    monkeypatch.setattr(drawing, "_kept", type(drawing._kept)())
    answer = client.get(f"{API}/{job}/figures/heads")
    problems(answer, 503)
    assert json.loads(answer.text)["title"] == "Figure unavailable"
    with pytest.raises(UnavailableError):
        drawing.bundle("")


def test_pictures_are_kept_within_a_limit(
    client: FlaskClient, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_kept", type(drawing._kept)())
    monkeypatch.setattr(drawing, "_answer", lambda request: json.dumps(request).encode())
    monkeypatch.setattr(drawing, "KEPT_BYTES", 100_000)
    for layer in range(6):
        for head in range(4):
            client.get(f"{API}/{job}/figures/scores?layer={layer}&head={head}")
    kept = sum(map(len, drawing._kept.values()))
    assert 50_000 < kept <= 100_000
