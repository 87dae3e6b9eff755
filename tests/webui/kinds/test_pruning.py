"""Pages, form and API of pruning jobs."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.kinds import pruning
from db.reads import jobs as job_reads
from db.results import rankings
from jobs.settings import Settings
from tests.helpers.jobs import HEADS
from tests.helpers.pruning_jobs import ROWS, plan, raw, run, submitted


def finished(database: Database, settings: Settings, **spec: Any) -> int:
    job = submitted(database, settings, **spec)
    plan(database, settings)
    run(database)
    assert job_reads.get_job(database, job).state.value == "succeeded"
    return job


@pytest.fixture
def job(database: Database, settings: Settings) -> int:
    """A finished job with everything that a page can show."""
    return finished(
        *(database, settings), steps=2, random=2, within_layer=[1, 2], preset="notebook", within=25
    )


def words(page: str, part: str = "main") -> str:
    """The text of an element of the page."""
    inner = page[page.index(f'id="{part}"') :]
    if part != "main":
        inner = inner[: inner.index("</section>")] if "</section>" in inner else inner
    plain = re.sub(r"<script.*?</script>", " ", inner, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", plain)).split())


def lines(page: str, name: str = "curve-spec") -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The points of a figure, by ranking and order."""
    found = re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in json.loads(found[1])["data"]["values"]:
        grouped.setdefault((row["ranking"], row["order"]), []).append(row)
    return grouped


def test_the_page_shows_curves_with_intervals_and_random_as_a_band(
    client: FlaskClient, database: Database, job: int
) -> None:
    page = client.get(f"/jobs/{job}").text
    found = lines(page)
    assert set(found) == {
        ("AttAttr", "least important first"),
        ("AttAttr", "most important first"),
        ("AttAttr", "notebook's rule"),
        ("Random", "random order"),
    }
    least = found["AttAttr", "least important first"]
    assert [row["share"] for row in least] == [0, 0.5, 1]
    points, _ = pruning.get_points(database, job)
    wanted = [p.result for p in points if p.scope == "global" and p.direction == "least"]
    for name in ("accuracy", "accuracy_low", "accuracy_high"):
        assert [row[name] for row in least] == [getattr(one, name) for one in wanted]
    drawn = [p.result.loss for p in points if p.source == "random" and p.removed == 3]  # type: ignore[union-attr]
    chosen = lines(client.get(f"/jobs/{job}?metric=loss&direction=most").text)
    assert ("AttAttr", "least important first") not in chosen
    half = chosen["Random", "random order"][1]
    assert [half[name] for name in ("loss", "loss_low", "loss_high")] == pytest.approx(
        [sum(drawn) / 2, min(drawn), max(drawn)]  # type: ignore[type-var]
    )
    assert "the line is the mean over the orders, the band their range" in words(page)
    assert client.get(f"/jobs/{job}?metric=speed").status_code == 400


def test_the_page_says_what_was_left_out_and_what_can_go(
    client: FlaskClient, database: Database, job: int
) -> None:
    text = words(client.get(f"/jobs/{job}").text)
    assert f"4 examples of {ROWS} left out" in text
    choice = pruning.get_choice(database, job)
    assert choice is not None
    assert f"{choice.removed} of 6 heads can be removed" in text
    assert re.search(r"Held-out accuracy [\d.]+ % \[[\d.]+ %, [\d.]+ %\] against 100.0 %", text)
    assert f"headwise prune {job} --chosen --out" in text


def test_a_table_of_every_line_with_the_command_of_each_point(
    client: FlaskClient, job: int
) -> None:
    text = words(client.get(f"/jobs/{job}?line=0.most").text, "curve-table")
    assert f"headwise prune {job} --point " in text
    rows = re.findall(r"(\d) ([\d.]+ %) ([\d.]+ %) \[", text)
    assert [row[0] for row in rows] == ["0", "3", "6"]
    random = client.get(f"/jobs/{job}?line=1.any").text
    assert "mean over 2 orders and range" in random
    assert client.get(f"/jobs/{job}?line=9.most").status_code == 400


def test_the_test_within_layers_the_preset_and_a_mask(
    client: FlaskClient, database: Database, job: int
) -> None:
    page = client.get(f"/jobs/{job}?point=2").text
    layers = words(page, "layers")
    assert "AttAttr least important first 1 2" in layers  # one of each of two layers
    assert "AttAttr most important first 2 4" in layers
    within = lines(page, "layers-spec")["AttAttr", "least important first"]
    assert [row["per_layer"] for row in within] == [1, 2]
    assert "of 6 heads, accuracy" in words(page, "preset")
    mask = words(page, "mask")
    assert mask.count(" 0") >= 6  # all heads are removed at the last point of the first curve
    half = words(client.get(f"/jobs/{job}?point=1").text, "mask")
    cells = re.search(r"H2 L0 (.*?) 1 stays", half)
    assert cells is not None
    assert sorted(cells[1].replace("L1 ", "").split()) == ["0"] * 3 + ["1"] * 3
    assert client.get(f"/jobs/{job}?point=999").status_code == 400


def test_overlap_is_said(client: FlaskClient, database: Database, settings: Settings) -> None:
    job = finished(database, settings, steps=2, random=0, allow_overlap=True)
    text = words(client.get(f"/jobs/{job}").text)
    assert f"The heads were ranked with 4 of these {ROWS} examples, as in the paper's code" in text


def test_a_job_without_results_has_a_page(
    client: FlaskClient, database: Database, settings: Settings
) -> None:
    job = submitted(database, settings)
    assert "No results yet" in client.get(f"/jobs/{job}").text
    plan(database, settings)
    assert "No results yet" in client.get(f"/jobs/{job}").text
    assert client.get(f"/api/v1/jobs/{job}/pruning").json["provisional"] is True


def test_api_and_export(client: FlaskClient, job: int) -> None:
    body = client.get(f"/api/v1/jobs/{job}/pruning").json
    assert body["points"][0]["result"]["accuracy"] == 1.0
    assert body["choice"]["overlap"] == 4
    table = client.get(f"/jobs/{job}/export/pruning_points.csv").text
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == len(body["points"])
    for row, point in zip(rows, body["points"], strict=True):
        assert float(row["accuracy"]) == point["result"]["accuracy"]
    assert client.get(f"/api/v1/jobs/{job - 1}/pruning").status_code == 400
    assert client.get("/api/v1/jobs/999/pruning").status_code == 404


def test_the_api_refuses_bad_input_at_its_field(
    client: FlaskClient, settings: Settings, job: int
) -> None:
    def problems(**spec: Any) -> list[str]:
        answer = client.post("/api/v1/jobs", json=raw(settings, job - 1, **spec))
        assert answer.status_code == 400
        return [problem["field"] for problem in answer.json["problems"]]

    assert problems(sources=[{"job": 77}]) == ["sources.0.job"]
    assert problems(sources=[{"job": job}]) == ["sources.0.job"]
    assert problems(sources=[]) == ["sources"]
    assert problems(steps="many") == ["steps"]
    assert problems(colour="red") == ["colour"]


def test_the_form_starts_from_a_job_that_ranked_heads(
    client: FlaskClient, database: Database, settings: Settings, job: int
) -> None:
    source = job - 1
    page = client.get(f"/jobs/new?kind=pruning&from={source}").text
    spec = job_reads.get_job(database, source).spec
    assert f'value="{spec["model"]["name"]}"' in page
    assert f'value="{spec["data"]["path"]}"' in page
    checked = re.findall(r'name="(by\.[^"]*)" checked', page)
    assert checked == [
        f"by.{source}.{name}"
        for name in ("attattr", "attattr-absolute-total", "attattr-total", "attention")
    ]
    assert f"/jobs/new?kind=pruning&amp;from={source}" in client.get(f"/jobs/{source}").text
    assert client.get(f"/jobs/new?kind=pruning&from={job}").status_code == 400
    assert client.get("/jobs/new?kind=pruning&from=99").status_code == 404


def form(settings: Settings, source: int, **fields: str) -> dict[str, str]:
    spec = raw(settings, source)["spec"]
    return {
        "kind": "pruning",
        "source": "file",
        "model.name": spec["model"]["name"],
        "data.path": spec["data"]["path"],
        "data.text_columns": "premise, hypothesis",
        "data.label_column": "label",
        "directions": "least, most",
        f"by.{source}.attattr": "on",
        **fields,
    }


def test_the_form_submits_and_a_copy_has_the_same_fields(
    client: FlaskClient, database: Database, settings: Settings, job: int
) -> None:
    fields = form(settings, job - 1, shares="0.5, 0.1", within_layer="1", within="2.5", random="1")
    answer = client.post("/jobs/new", data=fields)
    assert answer.status_code == 303, words(answer.text)
    new = int(answer.headers["Location"].rsplit("/", 1)[1].split("?")[0])
    spec = job_reads.get_job(database, new).spec
    assert spec["shares"] == [0.1, 0.5]
    assert (spec["within_layer"], spec["within"], spec["random"]) == ([1], 2.5, 1)
    assert spec["sources"] == [{"job": job - 1, "source": "attattr"}]
    copy = client.get(f"/jobs/new?clone={new}").text
    for value in ('value="0.1, 0.5"', 'value="2.5"', f'name="by.{job - 1}.attattr" checked'):
        assert value in copy


def test_the_form_shows_problems_at_their_fields(
    client: FlaskClient, settings: Settings, job: int
) -> None:
    fields = form(settings, job - 1, steps="0", within="many")
    del fields[f"by.{job - 1}.attattr"]
    answer = client.post("/jobs/new", data=fields)
    assert answer.status_code == 400
    for name in ("sources", "steps", "within"):
        assert re.search(rf'id="problem-{name}" data-problem="{name}">', answer.text), name
    checked = client.post("/jobs/new/check", data=form(settings, job - 1)).json
    assert checked["estimate"]["examples"] == ROWS - 4
    said = f"4 of {ROWS} examples were used to rank the heads"
    assert f"{said} and are left out" in checked["notes"]
    everything = client.post("/jobs/new/check", data=form(settings, job - 1, allow_overlap="on"))
    assert everything.json["estimate"]["examples"] == ROWS
    assert not any("used to rank" in note for note in everything.json["notes"])


def test_the_mask_of_the_notebooks_rule_shows_its_levels_by_layer_and_head(
    client: FlaskClient, database: Database, settings: Settings
) -> None:
    """Of the layer that heads may be removed from alone: levels are scaled within it."""
    job = finished(database, settings, steps=1, preset="notebook", layers=[1], within_layer=[1])
    page = client.get(f"/jobs/{job}").text
    mean = rankings.get_means(database, 1, "attattr")[1]
    levels = (255 * (mean - mean.min()) / (mean.max() - mean.min() + 1e-11)).astype(int).tolist()
    threshold = sorted(levels)[int(0.35 * HEADS)]
    rows = re.findall(r'<th scope="row">L\d+</th>((?:<td.*?</td>)+)', page)
    cells = [re.findall(r'<td class="(\w+)" title="(.*?)">(\d+)', row) for row in rows]
    assert cells[0] == [("stays", f"L0 H{h}: stays", "1") for h in range(HEADS)]
    for head, (shown, level) in enumerate(zip(cells[1], levels, strict=True)):
        end = ("goes", "removed") if level <= threshold else ("stays", "stays")
        assert shown == (end[0], f"L1 H{head}: {end[1]}", str(level))
    names = [f"L1 H{head}" for head, level in enumerate(levels) if level <= threshold]
    assert f"by name {', '.join(names)}" in words(page, "mask")
    assert f"{len(names)} of {HEADS} heads" in words(page, "preset")
    within = lines(page, "layers-spec")["AttAttr", "least important first"]
    assert [row["per_layer"] for row in within] == [1]
