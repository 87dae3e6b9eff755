"""Checking and submitting: bad input is refused before a job row exists, good work is one job."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import new_jobs
from headwise.models.labels import Outputs
from jobs.errors import ConflictError, NotFoundError
from jobs.inputs.models.configuration import ModelFacts
from jobs.settings import Settings
from jobs.specs.submission import parse_spec, spec_hash
from scheduler.submission import submit as submit_module
from scheduler.submission.control import control
from scheduler.submission.presets import DEMO_DATA, DEMO_MODEL, presets
from scheduler.submission.submit import check, new_job, rows_of, submit
from tests.helpers.databases import rows
from tests.helpers.inputs import data_file, model_folder, raw_submission, refused
from tests.helpers.jobs import ALICE, planned_job


def test_a_good_submission_becomes_a_queued_job_with_its_examples(
    database: Database, settings: Settings
) -> None:
    raw = raw_submission(settings.home) | {"name": "mine", "user": "ada", "priority": 3}
    found = check(raw, settings, database)
    assert rows(database, "SELECT COUNT(*) FROM job") == [(0,)]
    assert found.existing_job is None
    assert (found.estimate.examples, found.estimate.shards, found.estimate.seconds) == (6, 1, None)
    job = submit(found, database)
    columns = "name, user_name, priority, queue, state, control, examples, layers, heads, labels"
    assert rows(database, f"SELECT {columns} FROM job WHERE id = {job}") == [
        ("mine", "ada", 3, "default", "queued", "run", 6, 2, 4, '["no", "maybe", "yes"]')
    ]
    stored = "SELECT example_no, source_row, text_a, text_b, gold FROM example ORDER BY 1"
    assert rows(database, stored) == [(n, n, f"text {n}", f"second {n}", n % 3) for n in range(6)]
    (spec, digest), *_ = rows(database, "SELECT spec, spec_hash FROM job")
    assert spec_hash(parse_spec(json.loads(spec))) == digest


def test_the_hash_of_a_text_does_not_need_the_text(database: Database, settings: Settings) -> None:
    submit(check(raw_submission(settings.home, data={"limit": 1}), settings, database), database)
    expected = hashlib.sha256(json.dumps(["text 0", "second 0"]).encode()).hexdigest()
    assert rows(database, "SELECT text_hash FROM example") == [(expected,)]


@pytest.mark.parametrize("inline", [False, True])
def test_texts_are_hashed_before_the_transaction_that_writes_them(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    given = [{"premise": "text 0", "hypothesis": "second 0", "label": "no"}]
    raw = raw_submission(settings.home, data={"path": None, "inline": True} if inline else {})
    found = check(raw | ({"rows": given} if inline else {}), settings, database)
    with rows_of(found) as opened:
        job = new_job(found, opened)
        monkeypatch.setattr(hashlib, "sha256", None)
        new_jobs.write_jobs(database, lambda tx: new_jobs.write_job(tx, job))
    monkeypatch.undo()
    expected = hashlib.sha256(json.dumps(["text 0", "second 0"]).encode()).hexdigest()
    assert rows(database, "SELECT text_hash FROM example WHERE example_no = 0") == [(expected,)]


def test_a_row_without_label_is_good_when_the_target_is_another(
    database: Database, settings: Settings
) -> None:
    row = {"premise": "a", "hypothesis": "b", "label": ""}
    (settings.home / "pairs.jsonl").write_text(json.dumps(row))
    submit(check(raw_submission(settings.home), settings, database), database)
    assert rows(database, "SELECT gold FROM example") == [(None,)]


# The same work twice.


def test_the_same_unfinished_work_is_one_job(database: Database, settings: Settings) -> None:
    raw = raw_submission(settings.home)
    job = submit(check(raw, settings, database), database)
    again = check(raw, settings, database)
    assert again.existing_job == job
    assert submit(again, database) == job
    assert rows(database, "SELECT COUNT(*) FROM job") == [(1,)]
    assert rows(database, "SELECT COUNT(*) FROM example") == [(6,)]


@pytest.mark.parametrize("difference", ["user", "spec", "data"])
def test_other_work_is_another_job(database: Database, settings: Settings, difference: str) -> None:
    raw = raw_submission(settings.home)
    first = submit(check(raw, settings, database), database)
    if difference == "user":
        raw["user"] = "somebody"
    elif difference == "spec":
        raw["spec"]["edges"] = 3
    else:
        data_file(settings.home / "pairs.jsonl", rows=7)
    assert submit(check(raw, settings, database), database) != first


def test_finished_work_may_be_submitted_again(database: Database, settings: Settings) -> None:
    raw = raw_submission(settings.home)
    first = submit(check(raw, settings, database), database)
    with database.write() as tx:
        tx.run("UPDATE job SET state = 'succeeded'")
    again = check(raw, settings, database)
    assert again.existing_job is None
    assert submit(again, database) != first


def test_an_idempotency_key_means_one_job_for_ever(database: Database, settings: Settings) -> None:
    raw = raw_submission(settings.home) | {"idempotency_key": "k"}
    first = submit(check(raw, settings, database), database)
    with database.write() as tx:
        tx.run("UPDATE job SET state = 'succeeded'")
    raw["spec"]["edges"] = 3
    assert submit(check(raw, settings, database), database) == first
    assert submit(check(raw | {"user": "somebody"}, settings, database), database) != first


def test_the_same_submit_twice_at_once_is_one_job(database: Database, settings: Settings) -> None:
    found = check(raw_submission(settings.home), settings, database)
    jobs: list[int] = []
    threads = [
        threading.Thread(target=lambda: jobs.append(submit(found, database))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(jobs) == 4
    assert len(set(jobs)) == 1
    assert rows(database, "SELECT COUNT(*) FROM example") == [(6,)]


# Hub data, estimates.


def hub_spec(settings: Settings, **data: Any) -> dict[str, Any]:
    hub = {"path": None, "dataset": "org/set", "split": "test", "label_column": None}
    return raw_submission(settings.home, data={**hub, **data})


def test_hub_data_is_left_to_the_scheduler(database: Database, settings: Settings) -> None:
    found = check(hub_spec(settings), settings, database)
    assert found.data is None
    assert (found.estimate.examples, found.estimate.seconds) == (0, None)
    submit(found, database)
    assert rows(database, "SELECT examples, data_fingerprint FROM job") == [(0, None)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"limit": 500}, 500), ({"sample": 20}, 20), ({"limit": 500, "sample": 20}, 20)],
)
def test_the_size_of_hub_data_is_estimated_from_its_limits(
    database: Database, settings: Settings, data: dict[str, int], expected: int
) -> None:
    found = check(hub_spec(settings, **data), settings, database)
    assert found.estimate.examples == expected


def test_a_hub_model_is_pinned_to_a_commit(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = ModelFacts(
        family="bert", labels=("no", "maybe", "yes"), outputs=Outputs.CLASSES, layers=2, heads=4,
        max_length=64, truncated_to=64, token_types=None, notes=(), revision="c0ffee",
    )  # fmt: skip
    monkeypatch.setattr(submit_module, "model_facts", lambda *_: facts)
    raw = raw_submission(settings.home, model={"name": "org/model", "revision": "main"})
    found = check(raw, settings, database)
    assert found.submission.spec.model.revision == "c0ffee"


def test_an_estimate_comes_from_jobs_like_it_and_live_workers(
    database: Database, settings: Settings
) -> None:
    job = planned_job(database, examples=6, size=6)
    with database.write() as tx:
        tx.run("UPDATE job SET layers = 2, heads = 4, state = 'succeeded', finished_at = 1")
        tx.run(
            "INSERT INTO attempt (job_id, shard_no, fence, worker, device, versions, "
            "started_at, finished_at, outcome, examples, seconds) VALUES "
            f"({job}, 0, 1, 'w', 'cpu', '', 0, 21, 'done', 10, 20)"
        )
    raw = raw_submission(settings.home)
    found = check(raw, settings, database).estimate
    # A second for the model, and two for each example.
    assert found.seconds == pytest.approx(1 + 6 * 2.0)
    assert (found.low_seconds or 0) < 10 < 16 < (found.high_seconds or 0)
    assert found.basis.startswith("from 1 job with this model shape; ")
    for name in ("a", "b"):
        fleet.report_worker(database, replace(ALICE, name=name), ProcessState.IDLE)
    found = check(raw, settings, database).estimate
    assert found.seconds == pytest.approx(1 + 6.0)
    assert found.shards == 2


def test_an_estimate_learns_from_jobs_of_the_same_length_and_tolerance(
    database: Database, settings: Settings
) -> None:
    for rtol, seconds in ((1e-3, 20), (1e-5, 200)):
        raw = raw_submission(settings.home, rtol=rtol)
        job = submit(check(raw, settings, database), database)
        with database.write() as tx:
            tx.run("UPDATE job SET state = 'succeeded', finished_at = 1 WHERE id = :id", id=job)
            tx.run(
                "INSERT INTO attempt (job_id, shard_no, fence, worker, device, versions, "
                "started_at, finished_at, outcome, examples, seconds) VALUES "
                "(:id, 0, 1, 'w', 'cpu', '', 0, :s, 'done', 6, :s)",
                id=job,
                s=seconds,
            )
    for rtol, seconds in ((1e-3, 20), (1e-5, 200)):
        raw = {**raw_submission(settings.home, rtol=rtol), "again": True}
        found = check(raw, settings, database).estimate
        assert found.seconds == pytest.approx(seconds)
        assert "from 1 job with this model shape, text length and tolerance" in found.basis


# Presets and control.


def test_every_preset_is_a_good_submission_once_the_demo_is_there(
    database: Database, settings: Settings
) -> None:
    assert "Demo: natural language inference" not in presets(settings)
    (settings.home / DEMO_DATA).parent.mkdir()
    model_folder(settings.home / DEMO_MODEL)
    data_file(settings.home / DEMO_DATA)
    found = presets(settings)
    assert next(iter(found)) == "Demo: natural language inference"
    assert len(found) == 7
    for raw in found.values():
        assert check(raw, settings, database).estimate.examples == 6


def test_presets_without_the_demo_leave_only_model_and_data_to_fill_in(
    database: Database, settings: Settings
) -> None:
    raw_submission(settings.home)
    for raw in presets(settings).values():
        raw["spec"]["model"]["name"] = str(settings.home / "model")
        raw["spec"]["data"]["path"] = "pairs.jsonl"
        check(raw, settings, database)


def state_of(database: Database, job: int) -> tuple[str, str]:
    return rows(database, f"SELECT state, control FROM job WHERE id = {job}")[0]  # type: ignore[return-value]


def test_what_a_user_may_ask_of_a_job(database: Database) -> None:
    job = planned_job(database)
    control(database, job, "pause")
    assert state_of(database, job) == ("paused", "pause")
    control(database, job, "resume")
    assert state_of(database, job) == ("running", "run")
    with pytest.raises(ConflictError, match="cancel it before deleting"):
        control(database, job, "delete")
    control(database, job, "cancel")
    assert state_of(database, job) == ("cancelling", "cancel")
    with pytest.raises(ConflictError, match="cancelling: resume is not possible now"):
        control(database, job, "resume")


def test_an_unknown_action_comes_with_the_nearest(database: Database) -> None:
    problem = refused(
        lambda: control(database, 1, "cancle"), "given: 'cancle'", "Did you mean 'cancel'?"
    )
    assert problem.field == "action"


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "delete"])
def test_an_unknown_job(database: Database, action: str) -> None:
    with pytest.raises(NotFoundError, match="no job 99"):
        control(database, 99, action)


def test_a_job_goes_to_the_queue_of_the_settings_unless_it_names_one(
    database: Database, settings: Settings
) -> None:
    settings = settings.model_copy(update={"queue": "gpu"})
    raw = raw_submission(settings.home)
    assert check(raw, settings, database).submission.queue == "gpu"
    assert check({**raw, "queue": "cpu"}, settings, database).submission.queue == "cpu"
