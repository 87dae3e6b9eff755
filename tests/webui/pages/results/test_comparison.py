"""Jobs and studies compared: the page, the API and the files of their figures."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.kinds import pruning
from db.results import rankings
from headwise.figures import VegaFigure
from jobs.settings import Settings
from tests.helpers.attack_jobs import attack_spec, finished_attack
from tests.helpers.attack_jobs import source_job as mined_job
from tests.helpers.pruning_jobs import plan, run, source_job, submitted
from tests.webui.api.answers import problems
from tests.webui.pages.studies.test_studies import finished_study

API = "/api/v1/compare"
DATA = {"path": "/d/rows.jsonl", "text_columns": ["text"], "label_column": "label"}
SPEC: dict[str, Any] = {"kind": "attribution", "model": {"name": "/m/tiny"}, "data": DATA}


@pytest.fixture
def pair(database: Database) -> str:
    """Two attribution jobs that differ in their tolerance and the number of their rows."""
    first = source_job(database, {**SPEC, "rtol": 0.001})
    return f"{first},{source_job(database, {**SPEC, 'rtol': 0.01}, examples=6)}"


def figure(client: FlaskClient, path: str) -> VegaFigure:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return VegaFigure.from_spec(answer.json)


def test_what_differs_and_nothing_else(client: FlaskClient, pair: str) -> None:
    page = unescape(client.get(f"/compare?jobs={pair}").text)
    section = page[page.index('id="differences"') : page.index('id="heads"')]
    assert re.findall(r'class="mono small">([^<]+)<', section) == ["rtol"]
    found = client.get(f"{API}?jobs={pair}").json
    assert found["differences"] == [{"field": "rtol", "values": ["0.001", "0.01"]}]
    assert [side["job"] for side in found["sides"]] == [int(one) for one in pair.split(",")]
    assert [side["models"] for side in found["sides"]] == [["tiny"], ["tiny"]]


def test_accuracy_and_completeness_stand_side_by_side(client: FlaskClient, pair: str) -> None:
    first, second = client.get(f"{API}?jobs={pair}").json["sides"]
    assert (first["accuracy_examples"], second["accuracy_examples"]) == (4, 6)
    shown = figure(client, f"{API}/figures/accuracy?jobs={pair}&format=json")
    for side, row in zip((first, second), shown.rows, strict=True):
        assert side["accuracy_low"] < side["accuracy"] <= side["accuracy_high"]
        assert [row["accuracy"], row["accuracy_low"], row["n"]] == [
            *(side["accuracy"], side["accuracy_low"], side["accuracy_examples"])
        ]
    one, two = pair.split(",")
    layers = figure(client, f"{API}/figures/completeness?jobs={pair}&format=json").rows
    for job in (one, two):
        own = figure(client, f"/api/v1/jobs/{job}/figures/completeness?format=json").rows
        assert [
            {key: row[key] for key in row if key != "panel"}
            for row in layers
            if row["panel"].startswith(f"job {job} ")
        ] == own


def test_a_warning_where_labels_data_or_task_differ(
    client: FlaskClient, database: Database
) -> None:
    jobs = [source_job(database, {**SPEC, "output": output}) for output in ("logit", "probability")]
    pair = ",".join(map(str, jobs))
    words = client.get(f"{API}?jobs={pair}").json["warnings"]
    assert [one.partition(":")[0] for one in words] == ["What is attributed differs"]
    for column, value, title in (
        ("labels", '["no", "perhaps", "yes"]', "The labels differ"),
        ("labels", '["score"]', "The task differs"),
        ("data_fingerprint", "other rows", "The data differ"),
        ("layers", 7, "The models differ in shape"),
    ):
        with database.write() as tx:
            outputs = ", outputs = 'numbers'" if "task" in title else ""
            query = f"UPDATE job SET {column} = :value{outputs} WHERE id = :job"
            tx.run(query, value=value, job=jobs[1])
        found = client.get(f"{API}?jobs={pair}").json["warnings"]
        assert title in [one.partition(":")[0] for one in found]
        page = unescape(client.get(f"/compare?jobs={pair}").text)
        assert f"Warning:</strong> {title}: job {jobs[0]}" in page


def test_maps_have_the_stored_numbers_and_their_differences(
    client: FlaskClient, database: Database, pair: str
) -> None:
    one, two = map(int, pair.split(","))
    path = f"{API}/figures/{{}}?jobs={pair}&source=attattr-total&format=json"
    maps = figure(client, path.format("heads"))
    means = [rankings.get_means(database, job, "attattr-total").ravel() for job in (one, two)]
    shown = [row["importance"] for row in maps.rows]
    assert shown == [*means[0].tolist(), *means[1].tolist()]
    assert [row["panel"].split(" (")[0] for row in maps.rows[:: len(means[0])]] == [
        *(f"job {one}", f"job {two}")
    ]
    top = max(map(abs, shown))
    assert maps.chart["spec"]["encoding"]["color"]["scale"]["domain"][1] == top
    difference = figure(client, path.format("difference"))
    assert [row["difference"] for row in difference.rows] == (means[1] - means[0]).tolist()
    for row in maps.rows[:3]:
        assert row["importance_low"] < row["importance"] < row["importance_high"]


def test_ranks_and_scatter_have_their_intervals(
    client: FlaskClient, database: Database, pair: str
) -> None:
    one, two = map(int, pair.split(","))
    ranks = figure(client, f"{API}/figures/ranks?jobs={pair}&format=json").rows
    stored = [
        head
        for job in (one, two)
        for head in rankings.get_rankings(database, job)[0]
        if head.source == "attattr"
    ]
    assert [(row["rank"], row["rank_low"], row["rank_high"]) for row in ranks] == [
        (head.rank, head.rank_low, head.rank_high) for head in stored
    ]
    points = figure(
        client, f"{API}/figures/scatter?jobs={pair}&x={one}.attattr&y={two}.attention&format=json"
    )
    assert f"Attention, job {two}" in points.title
    for row, head in zip(points.rows, stored, strict=False):
        half = 1.959963984540054 * (head.standard_error or 0.0)
        assert row["one"] == head.mean
        assert row["one_low"] == pytest.approx(head.mean - half, abs=1e-15)
        assert row["one_high"] == pytest.approx(head.mean + half, abs=1e-15)
    assert {"one_low", "one_high", "other_low", "other_high"} <= set(points.columns)


def test_pruning_curves_of_two_jobs(
    client: FlaskClient, database: Database, settings: Settings
) -> None:
    jobs = [submitted(database, settings)]
    plan(database, settings)
    run(database)
    jobs.append(submitted(database, settings))
    plan(database, settings)
    run(database)
    pair = ",".join(map(str, jobs))
    drawn = figure(client, f"{API}/figures/curve?jobs={pair}&metric=loss&format=json")
    for job in jobs:
        points, _ = pruning.get_points(database, job)
        stored = [
            (point.removed, point.result.loss)
            for point in points
            if point.scope == "global" and point.direction == "least" and point.result
        ]
        order = "least important first"
        rows = [row for row in drawn.rows if row["job"] == f"job {job}" and row["order"] == order]
        assert [(row["removed"], row["loss"]) for row in rows] == stored
    one = figure(client, f"{API}/figures/curve?jobs={pair}&direction=most&format=json")
    assert {row["order"] for row in one.rows} <= {"most important first", "random order"}
    page = client.get(f"/compare?jobs={pair}&direction=most").text
    assert 'id="figure-curve"' in page
    assert 'id="figure-heads"' not in page


def test_triggers_of_two_jobs(client: FlaskClient, database: Database) -> None:
    mined = mined_job(database)
    jobs = [
        finished_attack(database, attack_spec(mined)),
        finished_attack(database, attack_spec(mined, controls={"random": False})),
    ]
    pair = ",".join(map(str, jobs))
    listed = {one["name"]: one for one in client.get(f"{API}?jobs={pair}").json["figures"]}
    labels = [one["value"] for one in listed["triggers"]["choices"]["label"]]
    assert labels
    for label in labels:
        rows = figure(client, f"{API}/figures/triggers?jobs={pair}&label={label}&format=json").rows
        assert len({row["job"] for row in rows}) == 2
        own = client.get(f"/api/v1/jobs/{jobs[0]}/figures").json["figures"][0]["choices"]["label"]
        gold = next(one["value"] for one in own if one["title"] == label)
        alone = figure(
            client, f"/api/v1/jobs/{jobs[0]}/figures/triggers?label={gold}&format=json"
        ).rows
        assert [
            (row["trigger"], row["kind"], row["success"])
            for row in rows
            if row["job"].partition(" (")[0] == f"job {jobs[0]}"
        ] == [(row["trigger"], row["kind"], row["success"]) for row in alone]
    page = unescape(client.get(f"/compare?jobs={pair}&label={labels[-1]}").text)
    assert f"Triggers against {labels[-1]} by job" in page
    assert 'href="#triggers"' in page
    (problem,) = problems(client.get(f"{API}/figures/triggers?jobs={pair}&label=nothing"), 400)
    assert problem["field"] == "label"


def test_every_figure_of_the_page_can_be_had_as_a_file(client: FlaskClient, pair: str) -> None:
    listed = client.get(f"{API}?jobs={pair}").json["figures"]
    page = unescape(client.get(f"/compare?jobs={pair}").text)
    links = re.findall(r'href="(/api/v1/compare/figures/(\w+)[^"]*format=(\w+)[^"]*)"', page)
    assert {name for _, name, _ in links} == {one["name"] for one in listed}
    assert {form for _, _, form in links} == {"svg", "png", "pdf", "csv", "json"}
    for address, name, form in links:
        if form == "csv":
            answer = client.get(address)
            assert list(csv.DictReader(io.StringIO(answer.text, newline=""))), address
            kept = answer.headers["Content-Disposition"]
            assert f"headwise-jobs-{pair.replace(',', '-')}-{name}.csv" in kept
    assert client.get(f"{API}/figures/heads?jobs={pair}").data.startswith(b"<svg")
    for one in listed:
        for choice, values in one["choices"].items():
            path = f"{API}/figures/{one['name']}?jobs={pair}&{choice}={values[-1]['value']}"
            assert figure(client, f"{path}&format=json").rows


def test_choices_are_in_the_address(client: FlaskClient, pair: str) -> None:
    page = client.get(f"/compare?jobs={pair}&source=attention").text
    assert "Attention by layer and head" in page
    assert f'name="jobs" value="{pair}"' in page  # kept by the form of the scatter plot
    (problem,) = problems(client.get(f"{API}/figures/heads?jobs={pair}&source=attenton"), 400)
    assert problem["field"] == "source"
    assert client.get(f"/compare?jobs={pair}&source=attenton").status_code == 400


def test_what_cannot_be_compared(client: FlaskClient, database: Database, pair: str) -> None:
    one = pair.split(",")[0]
    attack = finished_attack(database, attack_spec(mined_job(database)))
    for jobs, status, field, words in (
        (one, 400, "jobs", "names one job"),
        ("", 400, "jobs", "names no job"),
        (f"{one},{one}", 400, "jobs", "given twice"),
        (",".join(map(str, range(1, 10))), 400, "jobs", "names 9 jobs, and 8 can be compared"),
        (f"{one},x", 400, "jobs", "is not the number of a job"),
        (f"{one},{10**20}", 400, "jobs", "is not the number of a job"),
        (f"{one},999", 404, "request", "There is no job 999. Leave it out"),
        (f"{one},{attack}", 400, "jobs", f"job {attack} is of kind attack"),
    ):
        (problem,) = problems(client.get(f"{API}?jobs={jobs}"), status)
        assert problem["field"] == field, jobs
        assert words in problem["message"], jobs
        page = client.get(f"/compare?jobs={jobs}", headers={"Accept": "text/html"})
        assert page.status_code == status
        assert words in unescape(page.text)
    assert client.get(f"{API}/figures/curve?jobs={pair}").status_code == 404


def test_jobs_are_chosen_in_the_list(client: FlaskClient, pair: str) -> None:
    one, two = pair.split(",")
    page = client.get("/").text
    assert 'formaction="/compare"' in page
    answer = client.post("/compare", data={"job": [one, two], "action": "", "back": ""})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/compare?jobs={one},{two}")
    answer = client.post("/compare", data={"jobs": pair, "job": two})
    assert f"jobs={two},{one}" in unescape(answer.headers["Location"])
    assert client.post("/compare", data={}, follow_redirects=True).status_code == 400


def test_a_page_of_a_job_offers_others(client: FlaskClient, database: Database, pair: str) -> None:
    one, two = pair.split(",")
    page = client.get(f"/jobs/{one}").text
    assert f'<input type="hidden" name="jobs" value="{one}">' in page
    assert f'<option value="{two}">' in page
    assert client.get(f"/compare?jobs={one}&jobs={two}").status_code == 200
    attack = finished_attack(database, attack_spec(mined_job(database)))
    assert "Compare…" not in client.get(f"/jobs/{attack}").text


def test_a_job_without_results_is_compared_by_its_specification(
    client: FlaskClient, database: Database, pair: str, seeding: Any
) -> None:
    queued = seeding.seed_job(database, state="queued")
    one = pair.split(",")[0]
    found = client.get(f"{API}?jobs={one},{queued}").json
    assert found["sides"][1]["accuracy"] is None
    assert "model.name" in [difference["field"] for difference in found["differences"]]
    page = client.get(f"/compare?jobs={one},{queued}").text
    assert "There is nothing to draw yet" in page


def test_two_studies(client: FlaskClient, database: Database) -> None:
    a, *_ = finished_study(database, "first")
    b, *_ = finished_study(database, "second")
    page = unescape(client.get(f"/studies/compare?a={a}&b={b}").text)
    for words in ("study 1 (first)", "study 2 (second)", "rows.jsonl", "1970-01-01"):
        assert words in page
    assert "Nothing: they are the same." in page
    links = re.findall(r'href="(/api/v1/studies/compare/figures/(\w+)[^"]*format=csv[^"]*)"', page)
    assert {name for _, name in links} == {
        *("heads", "difference", "ranks", "scatter", "accuracy", "completeness")
    }
    for address, _ in links:
        assert client.get(address).status_code == 200
    api = client.get(f"/api/v1/studies/compare?a={a}&b={b}").json
    assert [side["study"] for side in api["sides"]] == [a, b]
    assert [one["spearman"] for one in api["correlations"]] == pytest.approx([1, 1, 1])
    (problem,) = problems(client.get(f"/api/v1/studies/compare?a={a}&b={a}"), 400)
    assert problem["field"] == "b"


def test_steps_stand_for_the_jobs_of_a_study(client: FlaskClient, database: Database) -> None:
    a, *_ = finished_study(database, "first")
    b, _, other = finished_study(database, "second")
    with database.write() as tx:
        query = "UPDATE job SET spec = replace(spec, 'rows.jsonl', 'more.jsonl') WHERE id = :job"
        tx.run(query, job=other)
    found = client.get(f"/api/v1/studies/compare?a={a}&b={b}").json["differences"]
    assert found == [{"field": "leave-one-out: data.path", "values": ["rows.jsonl", "more.jsonl"]}]


def test_figures_of_a_study(client: FlaskClient, database: Database) -> None:
    study, attribution, _ = finished_study(database)
    api = f"/api/v1/studies/{study}/figures"
    listed = client.get(api).json["figures"]
    assert [one["name"] for one in listed] == [
        *("heads", "ranks", "curve", "layers", "triggers", "completeness")
    ]
    own = figure(client, f"/api/v1/jobs/{attribution}/figures/heads?format=json&measure=mean_total")
    assert figure(client, f"{api}/heads?format=json&measure=mean_total") == own
    ranks = figure(client, f"{api}/ranks?format=json")
    assert len({row["ranking"] for row in ranks.rows}) == 3
    page = unescape(client.get(f"/studies/{study}").text)
    assert f'href="{api}/ranks?format=pdf"' in page
    (problem,) = problems(client.get(f"{api}/curve"), 404)
    assert problem["message"] == f"Study {study} has no finished job of kind pruning."
    problems(client.get("/api/v1/studies/99/figures"), 404)
