"""A job that is deleted while it is read: every address of it answers 404 from then on."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from db.database import Database
from headwise.attribution.cells import interactions
from jobs.settings import Settings, load_settings
from tests.helpers.apps import new_app
from tests.helpers.attack_jobs import attack_spec, finished_attack
from tests.helpers.attack_jobs import source_job as mined_job
from tests.helpers.databases import sqlite_database
from tests.helpers.matrices import seed_matrix
from tests.helpers.pruning_jobs import plan, run, submitted
from tests.helpers.trees import KNOWN, THREE
from tests.webui import seed
from tests.webui.pages.studies.test_studies import finished_study

JOB = re.compile(r"<int\(max=\d+\):job_id>")
NUMBERS = {"example_no": 2, "layer": 2, "head": 3, "mask_no": 0, "trigger_no": 0}
NAMES = {"name": ("head_scores",), "kind": ("words", "arcs")}
JOB_FIGURES = ("heads", "scores", "completeness", "matrix")
OTHER_KIND = {"pruning": "pruning", "masks": "pruning", "triggers": "attack", "tried": "attack"}
FEW = 8
"""Statements of a request before which the job is deleted, in as many tries."""


class Deleted:
    """Deletes jobs before a statement of a request, and brings them back."""

    def __init__(self, app: Flask, file: sqlite3.Connection, before: sqlite3.Connection) -> None:
        self.engine = app.extensions["headwise"].database.engine
        self.file = file
        self.before = before
        file.backup(before)
        tables = file.execute(
            "SELECT m.name FROM sqlite_master m WHERE m.type = 'table' AND EXISTS "
            "(SELECT 1 FROM pragma_table_info(m.name) WHERE name = 'job_id')"
        )
        self.tables = [name for (name,) in tables]
        self.job = self.at = self.statements = 0
        self.done = False

    def watch(self, job: int, at: int) -> None:
        """Delete a job before statement `at` of the next request; before none if that is 0."""
        self.job, self.at, self.statements, self.done = job, at, 0, False

    def note(self, connection: Any, *_: Any) -> None:
        self.statements += 1
        # On SQLite nobody can delete anything inside a write transaction.
        writing = connection.get_execution_options().get("headwise_write")
        if self.statements == self.at and not writing:
            self.done = True
            self.file.execute("BEGIN IMMEDIATE")
            for table in self.tables:
                self.file.execute(f"DELETE FROM {table} WHERE job_id = {self.job}")
            self.file.execute(f"DELETE FROM job WHERE id = {self.job}")
            self.file.execute("COMMIT")

    def restore(self) -> None:
        self.at = 0
        self.before.backup(self.file)


@pytest.fixture
def stage(tmp_path: Any) -> Iterator[SimpleNamespace]:
    """Jobs of three kinds with results, and what deletes them."""
    settings = load_settings({}, home=tmp_path)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    numbers = filled(database, settings)
    database.close()
    app = new_app(settings)
    with (
        closing(sqlite3.connect(tmp_path / "headwise.sqlite", isolation_level=None)) as file,
        closing(sqlite3.connect(":memory:")) as before,
    ):
        deleted = Deleted(app, file, before)
        event.listen(deleted.engine, "before_cursor_execute", deleted.note)
        yield SimpleNamespace(app=app, client=app.test_client(), deleted=deleted, **numbers)
    app.extensions["headwise"].database.close()


def filled(database: Database, settings: Settings) -> dict[str, int]:
    pruning = submitted(database, settings)
    plan(database, settings)
    run(database)
    mined = mined_job(database)
    with database.write() as tx:
        given = f"(SELECT spec FROM job WHERE id = {pruning - 1})"
        tx.run(f"UPDATE job SET spec = {given} WHERE id = {mined}")
    attack = finished_attack(database, attack_spec(mined))
    study, *_ = finished_study(database, "study")
    step = database.value(f"SELECT MIN(job_id) FROM study_step WHERE study_id = {study}")
    job = seed.seed_job(database, layers=3)
    seed_matrix(database, job, 2, 2, 3)
    summed = np.zeros((3, 6, 6))
    summed[:, :5, :5] = KNOWN
    cells = interactions(summed, THREE).to_json()
    with database.write() as tx:
        mine = "WHERE job_id = :job AND example_no = 2"
        tx.run(f"UPDATE example_result SET interactions = :cells {mine}", cells=cells, job=job)
    return {"pruning": pruning, "attack": attack, "job": job, "study": study, "step": step}


def addresses(stage: SimpleNamespace) -> list[tuple[str, int]]:
    """Every address with a job in it that is read, with the job."""
    found = []
    for rule in stage.app.url_map.iter_rules():
        if "job_id" not in rule.arguments or "GET" not in rule.methods:
            continue
        kinds = [kind for part, kind in OTHER_KIND.items() if f"/{part}" in rule.rule]
        if rule.rule.startswith("/attack/"):
            kinds = ["attack"]
        jobs = [getattr(stage, kind) for kind in kinds[:1]]
        if rule.rule.endswith(":job_id>"):  # pages of other kinds have other sections
            jobs = jobs or [stage.job, stage.pruning, stage.attack]
        names = NAMES.get("kind" if "kind" in rule.arguments else "name", ())
        if "kind" in rule.arguments and "example_no" not in rule.arguments:
            names = JOB_FIGURES
        for job in jobs or [stage.job]:
            path = JOB.sub(str(job), rule.rule)
            for name, number in NUMBERS.items():
                path = re.sub(rf"<int\(max=\d+\):{name}>", str(number), path)
            for name in names if "<" in path else ("",):
                found.append((re.sub(r"<\w+>", name, path), job))
    return found


def answers(stage: SimpleNamespace, path: str, job: int) -> tuple[int, list[int]]:
    """The status of an address, and those with the job deleted before some of its statements."""
    client: FlaskClient = stage.client
    stage.deleted.watch(job, 0)
    status = client.get(path).status_code
    count = stage.deleted.statements
    found = []
    for at in range(2, count + 1, max(1, count // FEW)):
        stage.deleted.watch(job, at)
        with client.get(path) as answer:
            # A file that is being sent has its status, and no length.
            if stage.deleted.done and answer.content_length is not None:
                found.append(answer.status_code)
        stage.deleted.restore()
    return status, found


def test_every_address_of_a_job(stage: SimpleNamespace) -> None:
    tried, others = 0, []
    for path, job in addresses(stage):
        status, found = answers(stage, path, job)
        assert set(found) <= {404, status} - {200, 500}, path
        tried += len(found)
        if status not in (200, 308):
            others.append(path.replace(f"/{job}", ""))
    assert tried > 100
    # A seeded job has no rankings, and the attack is none on a single text.
    assert sorted(others) == ["/api/v1/jobs/correlation", "/api/v1/jobs/tried", "/attack/try"]


def test_what_reads_a_job_without_its_number_in_the_address(stage: SimpleNamespace) -> None:
    """The page is there without the job, or says that the job is not."""
    for path, job in (
        (f"/studies/{stage.study}", stage.step),
        (f"/compare?jobs={stage.job},{stage.step}", stage.job),
        (f"/jobs/new?clone={stage.job}", stage.job),
        (f"/lab?job={stage.job}", stage.job),
        ("/", stage.job),
    ):
        status, found = answers(stage, path, job)
        assert status == 200, path
        assert found
        assert set(found) <= {200, 404}, path


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("DELETE", "/api/v1/jobs/{job}", {}),
        ("PATCH", "/api/v1/jobs/{job}", {"json": {"keep_days": 1}}),
        ("POST", "/api/v1/jobs/{job}/purge", {}),
        ("POST", "/api/v1/jobs/{job}/examples/3/heads/2/3/matrix", {}),
        ("PUT", "/api/v1/jobs/{job}/recipients", {"json": {"recipients": []}}),
        ("POST", "/jobs/{job}/purge", {}),
        ("POST", "/jobs/{job}/delete", {}),
        ("POST", "/jobs/{job}/change", {"data": {"keep_days": "3"}}),
        ("POST", "/jobs/{job}/heads/2/3/matrix", {"data": {"example": "3"}}),
        ("POST", "/jobs/{job}/notify", {}),
    ],
)
def test_a_change_of_a_job(
    stage: SimpleNamespace, method: str, path: str, given: dict[str, Any]
) -> None:
    """It was made before the job was deleted, or there is no job."""
    path = path.format(job=stage.job)
    stage.deleted.watch(stage.job, 0)
    whole = stage.client.open(path, method=method, **given).status_code
    count = stage.deleted.statements
    stage.deleted.restore()
    for at in range(2, count + 1, max(1, count // FEW)):
        stage.deleted.watch(stage.job, at)
        status = stage.client.open(path, method=method, **given).status_code
        if stage.deleted.done:
            assert status in (whole if whole < 400 else 404, 404), at
        stage.deleted.restore()
