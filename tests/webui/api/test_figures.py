"""Figures in the API: which there are, their numbers in every format, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from db.reads import results
from db.results import rankings
from headwise.attribution.cells import interactions
from headwise.figures import FORMS, VegaFigure
from headwise.figures.sentence import KINDS, SentenceFigure
from jobs.errors import UnavailableError
from scheduler.figures.examples import FIGURES
from tests.helpers.attack_jobs import attack_spec, finished_attack, source_job
from tests.helpers.pruning_jobs import source_job as ranked_job
from tests.webui.api.answers import problems
from webui.figures import drawing

API = "/api/v1/jobs"


def test_every_figure_of_a_sentence_is_one_of_an_example() -> None:
    assert tuple(one.name for one in FIGURES) == KINDS


@pytest.fixture
def ranked(database: Database) -> int:
    """A job with rankings by several sources."""
    return ranked_job(database, {})


@pytest.fixture
def job(database: Database, seeding: SimpleNamespace) -> int:
    found: int = seeding.seed_job(database)
    return found


def figure(client: FlaskClient, job: int, name: str, query: str = "") -> VegaFigure:
    """A figure as a client reads it."""
    answer = client.get(f"{API}/{job}/figures/{name}?format=json{query}")
    assert answer.status_code == 200, answer.text
    return VegaFigure.from_spec(answer.json)


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


EXAMPLE_FIGURES = ("words", "arcs", "tree")


@pytest.fixture
def example(database: Database, job: int) -> str:
    """The path of an example with everything that its figures show."""
    length = len((results.get_example(database, job, 2).token_attribution or [])[0])
    sites = results.list_sites(database, job)
    summed = np.random.default_rng(0).random((len(sites), length, length)) ** 5
    r = schema.example_result.c
    mine = (r.job_id == job) & (r.example_no == 2)
    with database.write() as tx:
        cells = interactions(summed, sites).to_json()
        tx.execute(update(schema.example_result).where(mine).values(interactions=cells))
    return f"{API}/{job}/examples/2"


def of_example(client: FlaskClient, example: str, query: str) -> SentenceFigure:
    answer = client.get(f"{example}/figures/{query}")
    assert answer.status_code == 200, answer.text
    return SentenceFigure.from_json(answer.json)


def test_figures_of_an_example_are_drawn_with_every_choice(
    client: FlaskClient, example: str, job: int
) -> None:
    listed = client.get(f"{example}/figures").json["figures"]
    assert tuple(one["name"] for one in listed) == EXAMPLE_FIGURES
    for one in listed:
        figure = of_example(client, example, f"{one['name']}?format=json")
        assert figure.svg().startswith("<svg")
        assert figure.caption.endswith(
            "Model demo-nli, data pairs.jsonl, example 2, rtol 0.001, "
            f"job {job}, result 121212121212."
        )
        for name, values in one["choices"].items():
            if name == "head":
                continue
            for value in {values[0]["value"], values[-1]["value"]}:
                query = f"{one['name']}?format=json&{name}={value}"
                assert of_example(client, example, query).rows


@pytest.mark.parametrize("name", EXAMPLE_FIGURES)
def test_an_examples_figure_is_a_file_in_every_format(
    client: FlaskClient, example: str, job: int, name: str
) -> None:
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF-", "json": b"{"}
    for form in FORMS:
        answer = client.get(f"{example}/figures/{name}?format={form}")
        assert answer.status_code == 200
        assert answer.data.startswith(starts.get(form, b""))
        file_name = f"headwise-job-{job}-example-2-{name}.{form}"
        assert file_name in answer.headers["Content-Disposition"]


def test_the_words_have_the_stored_values(
    client: FlaskClient, database: Database, example: str, job: int
) -> None:
    found = results.get_example(database, job, 2)
    assert found.token_attribution is not None
    rows = of_example(client, example, "words?format=json&site=3").rows
    assert sum(row["attribution"] for row in rows) == pytest.approx(sum(found.token_attribution[3]))
    mean = [row["attribution"] for row in of_example(client, example, "words?format=json").rows]
    every = [sum(site) for site in found.token_attribution]
    assert sum(mean) == pytest.approx(sum(every) / len(every))
    place = {"example": 2, "site": 3, "head": 5}
    stored = results.example_head_tokens(database, job, **place)
    assert stored is not None
    head = of_example(client, example, "words?format=json&site=3&head=5")
    assert sum(row["attribution"] for row in head.rows) == pytest.approx(sum(stored))
    assert "read by head L3 H5" in head.caption
    edges = results.example_edges(database, job, 2)
    rows = of_example(client, example, "arcs?format=json").rows
    assert [row["attribution"] for row in rows] == [edge["attribution"] for edge in edges]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("words?head=3", "head"),
        ("words?site=99", "site"),
        ("words?root=1", "root"),
        ("tree?tau=0.123", "tau"),
        ("arcs?site=1", "site"),
        ("arcs?measure=mean", "measure"),
    ],
)
def test_bad_choices_of_an_examples_figure(
    client: FlaskClient, example: str, query: str, field: str
) -> None:
    answer = client.get(f"{example}/figures/{query}")
    assert [one["field"] for one in problems(answer, 400)] == [field]


def test_examples_and_figures_that_are_not_there(
    client: FlaskClient, example: str, job: int
) -> None:
    for path in (f"{API}/{job}/examples/999/figures", f"{example}/figures/heads"):
        assert client.get(path).status_code == 404
    other = f"{API}/{job}/examples/1"
    answer = client.get(f"{other}/figures/tree")
    assert answer.status_code == 404
    assert f"Job {job} has no tree of example 1." in answer.text
    assert client.get(f"{other}/figures").status_code == 200
