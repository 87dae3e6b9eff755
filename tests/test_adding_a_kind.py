"""A kind of job added as docs/explanation/architecture.md says: tests/toy_kind, end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import db.kinds
import jobs.kinds
import webui.kinds
import workers.kinds
from db.database import Database
from db.queue import lifecycle
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder, pairs_file
from tests.toy_kind import db as toy_db
from tests.toy_kind import jobs as toy_jobs
from tests.toy_kind import webui as toy_webui
from tests.toy_kind import workers as toy_workers
from webui.pages.jobs.new_job import defaults
from workers.worker import Worker

TEMPLATES = Path(webui.__file__).parent / "templates"
EXAMPLES = 6


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind in the registry of every layer."""
    monkeypatch.setitem(jobs.kinds.SPECS, "toy", toy_jobs.SPEC)
    monkeypatch.setitem(db.kinds.KINDS, "toy", toy_db.KIND)
    monkeypatch.setitem(workers.kinds.COMPUTE, "toy", toy_workers.compute)
    monkeypatch.setitem(webui.kinds.PAGES, "toy", toy_webui.PAGE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture
def database(settings: Settings) -> Database:
    return sqlite_database(settings.home / "headwise.sqlite")


@pytest.fixture
def client(settings: Settings, database: Database) -> Iterator[FlaskClient]:
    app = new_app(settings)
    yield app.test_client()
    app.extensions["headwise"].database.close()


def form(settings: Settings, **changes: str) -> dict[str, str]:
    """The values of the form, filled in."""
    return {
        **defaults("toy"),
        "kind": "toy",
        "model.name": str(settings.home / "model"),
        "data.path": str(settings.home / "pairs.jsonl"),
        "data.text_columns": "premise, hypothesis",
        **changes,
    }


def run(settings: Settings, database: Database) -> None:
    """Plan, work until nothing is ready, and finish."""
    app: Any = object()
    Scheduler(settings, database, app).plan()
    worker = Worker(settings, Database(database.url))
    worker.start()
    worker.compute_shards()
    worker.close()
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def test_every_kind_has_its_six_files() -> None:
    names = [*jobs.kinds.NAMES, "toy"]
    for registry in (
        jobs.kinds.SPECS,
        db.kinds.KINDS,
        workers.kinds.COMPUTE,
        webui.kinds.PAGES,
    ):
        assert list(registry) == names
    for name in jobs.kinds.NAMES:
        assert (TEMPLATES / f"new_{name}.html").is_file()
        assert (TEMPLATES / f"job_{name}.html").is_file()


def test_the_form_has_names_defaults_and_help_of_the_fields(client: FlaskClient) -> None:
    page = client.get("/jobs/new?kind=toy").text
    assert re.search(r'name="scale"[^>]* value="0.5" inputmode="decimal"', page)
    assert "Factor of every value." in page
    assert '<option value="last" selected>the last heads</option>' in page
    assert 'name="do" value="kind:toy" aria-current="true">Toy</button>' in page


def test_a_problem_is_shown_at_its_field(client: FlaskClient, settings: Settings) -> None:
    page = client.post("/jobs/new", data=form(settings, scale="0"))
    assert page.status_code == 400
    assert re.search(r'id="problem-scale"[^>]*>must be more than 0', page.text)


def test_a_job_runs_from_its_form_to_its_ranking(
    client: FlaskClient, settings: Settings, database: Database
) -> None:
    assert client.post("/jobs/new", data=form(settings)).status_code == 303
    run(settings, database)
    job = client.get("/api/v1/jobs/1").json
    assert (job["kind"], job["state"], job["examples_done"]) == ("toy", "succeeded", EXAMPLES)
    assert job["spec"]["scale"] == 0.5
    with database.read() as tx:
        rows = [
            tuple(row)
            for row in tx.run(
                "SELECT layer, head, rank, mean FROM importances "
                "WHERE job_id = 1 AND source = 'words' ORDER BY rank"
            )
        ]
    last = max(head for _, head, *_ in rows)
    # The last head of every layer comes first; equal ones are in the order of the layers.
    assert rows[0][:3] == (0, last, 1)
    assert rows[-1][1] == 0
    assert rows[0][3] == pytest.approx(rows[-1][3] * (last + 1))
    page = client.get("/jobs/1").text
    assert "Scaled by 0.5." in page
    assert "Words by layer and head." in page
    assert "Prune by this" in page
    ranking = client.get("/api/v1/jobs/1/rankings").json
    assert ranking["provisional"] is False
    assert {one["source"] for one in ranking["rankings"]} == {"words"}
    export = client.get("/jobs/1/export/importances.csv").text
    assert len(export.splitlines()) == 1 + len(rows)


def test_heads_are_pruned_by_its_ranking(
    client: FlaskClient, settings: Settings, database: Database
) -> None:
    client.post("/jobs/new", data=form(settings))
    run(settings, database)
    raw = {
        "spec": {
            "kind": "pruning",
            "model": {"name": str(settings.home / "model")},
            "data": {
                "path": str(settings.home / "pairs.jsonl"),
                "text_columns": ["premise", "hypothesis"],
                "label_column": "label",
            },
            "sources": [{"job": 1, "source": "words"}],
            "steps": 1,
            "random": 0,
            "allow_overlap": True,
        }
    }
    assert submit(check(raw, settings, database), database) == 2
    run(settings, database)
    assert client.get("/api/v1/jobs/2").json["state"] == "succeeded"
    assert "Words" in client.get("/jobs/2").text
