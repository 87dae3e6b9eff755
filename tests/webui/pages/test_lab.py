"""The text lab: an editor, jobs that go first, and columns with what differs."""

from __future__ import annotations

import html
import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.queue import claims
from db.results import commit
from jobs.settings import Settings
from scheduler.loop import Scheduler
from tests.helpers.apps import new_app
from tests.helpers.attack_jobs import attack_spec, finished_attack, source_job
from tests.helpers.databases import execute
from tests.helpers.jobs import ALICE, completed
from tests.helpers.scheduling import Quiet
from tests.webui.pages.results.test_trees import stored
from webui.pages.lab import columns


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


def explained(
    client: FlaskClient, database: Database, scheduler: Scheduler, form: dict[str, str]
) -> str:
    """Send the form and compute its job; returns the address of the lab with the new column."""
    answer = client.post("/lab", data=form)
    assert answer.status_code == 303, answer.text
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    return str(answer.location)


def test_a_column_waits_until_its_text_is_explained(
    client: FlaskClient, database: Database, scheduler: Scheduler, filled: dict[str, str]
) -> None:
    answer = client.post("/lab", data=filled)
    assert (answer.status_code, answer.location) == (303, "/lab?jobs=1")
    page = client.get("/lab?jobs=1").text
    assert 'data-refresh="1"' in page
    assert "A good film." in page
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    # The result is there when the shard is done, before the job is finished.
    page = client.get("/lab?jobs=1").text
    assert 'data-refresh="1"' not in page
    for part in ("<h3>Prediction</h3>", "<h3>Heads</h3>", ">A good\nfilm.</textarea>"):
        assert part in page


def test_an_edit_adds_a_column(
    client: FlaskClient, database: Database, scheduler: Scheduler, filled: dict[str, str]
) -> None:
    explained(client, database, scheduler, filled)
    edited = {**filled, "text": "A bad film.", "jobs": "1"}
    assert explained(client, database, scheduler, edited) == "/lab?jobs=1,2&base=1"
    page = client.get("/lab?jobs=1,2&base=1").text
    assert page.count('class="card column"') == 2
    assert page.count(">pinned<") == 1
    assert "Heads that changed most" not in page  # the made-up scores of both are the same
    changed = "UPDATE head_score SET score = score + 1 WHERE job_id = 2 AND site = 1 AND head = 2"
    execute(database, changed)
    changes = client.get("/lab?jobs=1,2&base=1").text.partition("Heads that changed most")[2]
    assert re.findall(r">(L\d H\d)</a></th>", changes) == ["L1 H2"]
    # The same text is the same column.
    again = client.post("/lab", data={**edited, "jobs": "1,2", "base": "1"})
    assert again.location == "/lab?jobs=1,2&base=1"
    # One is taken away, another is pinned, and its text goes back into the editor.
    for link in ("/lab?jobs=2", "/lab?jobs=1,2&amp;base=1&amp;edit=1", "base=2#columns"):
        assert f'href="{link}"' in page or link in page
    assert ">A good\nfilm.</textarea>" in client.get("/lab?jobs=1,2&edit=1").text
    found = client.get("/lab/export.json?jobs=1,2")
    assert "attachment" in found.headers["Content-Disposition"]
    assert [one["job"] for one in found.json] == [1, 2]
    assert found.json[1]["heads"][0].keys() == {"head", "score"}


def test_a_file_of_the_columns_draws_nothing(
    client: FlaskClient,
    database: Database,
    scheduler: Scheduler,
    filled: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explained(client, database, scheduler, filled)
    drawn: list[str] = []
    for name in ("show_words", "show_arcs", "show_tree"):
        monkeypatch.setattr(columns, name, lambda *_, name=name, **__: drawn.append(name))
    assert client.get("/lab/export.json?jobs=1").json[0]["words"]
    assert drawn == []
    client.get("/lab?jobs=1")
    assert sorted(drawn) == ["show_arcs", "show_tree", "show_words"]


def test_the_oldest_column_that_is_not_pinned_gives_way(
    client: FlaskClient, filled: dict[str, str]
) -> None:
    for number in range(6):
        jobs = ",".join(str(one) for one in range(1, number + 1))
        client.post("/lab", data={**filled, "text": f"text {number}", "jobs": jobs})
    form = {**filled, "text": "one more", "jobs": "1,2,3,4,5,6", "base": "1"}
    assert client.post("/lab", data=form).location == "/lab?jobs=1,3,4,5,6,7&base=1"


@pytest.mark.parametrize("jobs", ["1,2,3,4,5,6,7", "x", "1,-2", "99999999999"])
def test_bad_columns_are_refused(client: FlaskClient, jobs: str) -> None:
    assert client.get("/lab", query_string={"jobs": jobs}).status_code == 400


def test_a_job_of_many_texts_is_no_column(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    assert client.get(f"/lab?jobs={job}").status_code == 400
    assert client.get("/lab?jobs=99").status_code == 404
    one = seeding.seed_job(database, examples=1)
    page = client.get(f"/lab?jobs={one}").text
    # Tokens of a pair say which text they belong to.
    assert "(premise)" in page
    assert "(hypothesis)" in page
    for name in ("words", "arcs"):
        figure = f"/api/v1/jobs/{one}/examples/0/figures/{name}?"
        assert page.count(figure) == 4, "SVG, PNG, PDF and CSV"
        assert f'id="figure-{name}-{one}"' in page


def test_addresses_of_earlier_releases_lead_there(client: FlaskClient) -> None:
    assert client.get("/explain?job=3").location == "/lab?job=3"
    assert client.get("/explain?clone=3").location == "/lab?jobs=3&edit=3"
    assert client.get("/explain/3").location == "/lab?jobs=3"


def test_a_trigger_is_put_into_the_text(
    client: FlaskClient, database: Database, settings: Settings, filled: dict[str, str]
) -> None:
    attack = finished_attack(database, attack_spec(source_job(database)))
    answer = client.post("/lab", data={**filled, "text": "one two three four"})
    job = int(answer.location.rpartition("=")[2])
    with database.write() as tx:
        tx.run(
            "UPDATE job SET spec = (SELECT spec FROM job WHERE id = :job) WHERE id <> :job", job=job
        )
    page = client.get(f"/lab?jobs={job}").text
    links = re.findall(r'href="(/lab[^"]*trigger=[^"]*)"', page)
    assert links
    edited = client.get(html.unescape(links[0])).text
    text = re.search(r'<textarea id="text"[^>]*>([^<]*)<', edited)
    assert text is not None
    words = text[1].split()
    assert set(words) > {"one", "two", "three", "four"}
    assert client.get(f"/lab?jobs={job}&trigger={attack}.99").status_code == 404


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
    assert client.post("/lab", data=pair).location == "/lab?jobs=2"
    job = client.get("/api/v1/jobs/2").json
    assert (job["title"], job["priority"], job["examples"]) == ("A good film.", 100, 1)
    assert job["spec"]["target"] == "yes"
    assert not settings.uploads.exists()
    clone = client.get("/jobs/new?clone=2")
    assert (clone.status_code, clone.location) == (303, "/lab?jobs=2&edit=2")
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
    assert client.post("/lab", data=filled).status_code == 303
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
    page = client.post("/lab", data={**filled, field: value})
    assert page.status_code == 400
    assert problem in page.text
    assert html.escape({**filled, field: value}["model"]) in page.text
    assert client.get("/api/v1/jobs").json["total"] == 0


def test_the_editor_offers_models_that_were_used(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    assert "Text lab</h1>" in client.get("/lab").text
    job = seeding.seed_job(database)
    model = "/home/ada/.headwise/models/demo-nli"
    assert f'<option value="{model}">' in client.get("/lab").text
    assert f'name="model" value="{model}"' in client.get(f"/lab?job={job}").text
    assert client.get("/lab?job=99").status_code == 404
    assert f"/lab?job={job}" in client.get(f"/jobs/{job}").text


def test_a_job_that_ends_without_a_result_says_why(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, examples=1, state="failed", done=0, error="out of memory")
    page = client.get(f"/lab?jobs={job}").text
    assert "out of memory" in page
    assert 'data-refresh="1"' not in page


def test_one_choice_of_trees_is_that_of_all_columns(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    for words in (("so it", "is"), ("so is", "it")):
        stored(database, seeding, pairs=(words,), examples=1, done=1)
    address = "/lab?jobs=1,2"
    page = client.get(address).text
    assert page.count('name="root"') == 1
    assert "in all columns" in page
    assert page.count('class="drawn tree"') == 2
    assert '<option value="outgoing" selected>' in page
    chosen = client.get(f"{address}&root=classifier&tau=0.5&at=1.0").text
    assert '<option value="classifier" selected>' in chosen
    assert '<option value="0.5" selected>' in chosen
    # Nothing else of the address is lost.
    assert re.findall(r'<input type="hidden" name="(?:jobs|at)" value="([^"]*)">', chosen)[-2:] == [
        "1,2",
        "1.0",
    ]
    assert chosen.count("root=classifier&amp;tau=0.5") >= 2  # the files of both
    # A token is one of a single text, and so is a layer of a model.
    assert client.get(f"{address}&root=2").status_code == 400
    assert client.get(f"{address}&site=2").status_code == 200


def test_every_way_on_keeps_the_choice_of_trees(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, filled: dict[str, str]
) -> None:
    for words in (("so it", "is"), ("so is", "it")):
        stored(database, seeding, pairs=(words,), examples=1, done=1)
    tree = "root=classifier&tau=0.5"
    page = html.unescape(client.get(f"/lab?jobs=1,2&base=1&at=1.0&{tree}").text)
    for link in ("jobs=1,2&base=1&at=1.0", "jobs=1,2&base=1&edit=2", "jobs=1&base=1"):
        assert f'href="/lab?{link}&{tree}"' in page
    editor = {**filled, "jobs": "1,2", "base": "1", "root": "classifier", "tau": "0.5"}
    refused = client.post("/lab", data={**editor, "text": ""})
    assert refused.status_code == 400
    form = refused.text.partition('class="filters"')[2].partition("</form>")[0]
    assert '<input type="hidden" name="jobs" value="1,2">' in form
    assert client.post("/lab", data=editor).location == f"/lab?jobs=1,2,3&base=1&{tree}"
