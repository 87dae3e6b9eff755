"""submit, jobs, watch, cancel, pause, resume and delete."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from db.database import Database
from db.ops import fleet
from db.queue import lifecycle
from db.reads import jobs as job_reads
from jobs.settings import load_settings
from scheduler.submission.presets import DEMO_DATA, DEMO_MODEL
from tests.cli.conftest import Headwise, finished_job
from tests.helpers.apps import new_app
from tests.helpers.inputs import data_file, model_folder
from tests.helpers.jobs import ALICE, planned_job

READ = "JSON lines, {} rows. Texts from premise and hypothesis.\n"
GOOD = ("--model", "./home/model", "--data", "home/pairs.jsonl", "--text", "premise,hypothesis")

UNSERVED = "no worker serves the queue default: start one with `headwise worker --queues default`"


def test_submit_adds_a_job(headwise: Headwise) -> None:
    ran = headwise("submit", *GOOD, "--name", "mine", "--priority", "5", "--set", "data.sample=4")
    assert (ran.status, ran.out) == (
        0,
        "Job 1 submitted. 4 examples in 1 shard.\nhttp://127.0.0.1:8600/jobs/1\n"
        f"{READ.format(4)}Note: {UNSERVED}.\n",
    )
    (job,) = headwise("jobs", "--json").json
    assert (job["id"], job["name"], job["state"], job["priority"]) == (1, "mine", "queued", 5)


def test_submit_says_when_the_work_is_already_there(headwise: Headwise) -> None:
    answer = {"job": 1, "existing": False, "same_as": None, "notes": [UNSERVED]}
    assert headwise("submit", *GOOD, "--json").json == answer
    assert headwise("submit", *GOOD, "--json").json == {**answer, "existing": True}
    assert "Job 1 does the same work" in headwise("submit", *GOOD).out


def test_submit_offers_results_that_are_there(headwise: Headwise, store: Database) -> None:
    headwise("submit", *GOOD)
    with store.write() as tx:
        tx.run("UPDATE job SET state = 'succeeded', started_at = 9e9")
    ran = headwise("submit", *GOOD)
    assert ran.out == "Job 1 already has these results; use --again to run it again.\n"
    assert headwise("submit", *GOOD, "--json").json["same_as"] == 1
    assert headwise("submit", *GOOD, "--again").out.startswith("Job 2 submitted.")


def test_submit_another_kind(headwise: Headwise, store: Database) -> None:
    labelled = (*GOOD, "--label", "label", "--method", "taylor", "--kind")
    ran = headwise("submit", *labelled, "importance")
    assert ran.status == 0, ran.err
    assert job_reads.get_job(store, 1).spec["method"] == "taylor"
    bad = headwise("submit", *labelled, "importanc")
    assert (bad.status, bad.out) == (2, "")
    assert "Did you mean 'importance'?" in bad.err


def test_submit_chooses_the_queue_and_says_that_no_worker_serves_it(
    headwise: Headwise, store: Database
) -> None:
    fleet.report_worker(store, replace(ALICE, queue="gpu,small"), fleet.ProcessState.IDLE, None, 10)
    ran = headwise("submit", *GOOD, "--queue", "gpu")
    assert (ran.status, job_reads.get_job(store, 1).queue) == (0, "gpu")
    assert "no worker" not in ran.out
    ran = headwise("submit", *GOOD, "--set", "data.sample=4", "--queue", "gpuu")
    assert (ran.status, job_reads.get_job(store, 2).queue) == (0, "gpuu")
    assert "Note: no worker serves the queue gpuu: " in ran.out
    assert "`headwise worker --queues gpuu`; workers serve gpu, small." in ran.out
    bad = headwise("submit", *GOOD, "--queue", "GPU 1")
    assert (bad.status, bad.out) == (2, "")
    assert "(given: 'GPU 1'). " in bad.err


def test_submit_can_check_only(headwise: Headwise) -> None:
    asked = ("submit", *GOOD, "--label", "label", "--check")
    assert headwise(*asked).out == (
        "Valid. 6 examples in 1 shard.\n"
        "JSON lines, 6 rows. Texts from premise and hypothesis. "
        "Labels from label, read by name: no: 2, maybe: 2, yes: 2.\n"
        f"Note: {UNSERVED}.\n"
    )
    found = headwise(*asked, "--json").json
    unknown = dict.fromkeys(("seconds", "low_seconds", "high_seconds"))
    assert found["estimate"] == {
        "examples": 6,
        "shards": 1,
        **unknown,
        "time": "",
        "basis": ANY,
        "bytes": ANY,
    }
    assert found["understood"]["label_counts"] == {"no": 2, "maybe": 2, "yes": 2}
    assert headwise("jobs", "--json").json == []


def test_options_go_on_top_of_a_spec_file(
    headwise: Headwise, tmp_path: Path, store: Database
) -> None:
    spec = {
        "model": {"name": str(tmp_path / "home/model")},
        "data": {"path": "pairs.jsonl", "text_columns": ["premise"]},
        "edges": 3,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    more = ("--rtol", "0.01", "--set", "keep_text=false", "--set", "target=yes", "--label", "label")
    assert headwise("submit", "--spec", "spec.json", *more).status == 0
    with store.read() as tx:
        stored = json.loads(tx.run("SELECT spec FROM job").scalar_one())
    assert (stored["edges"], stored["rtol"], stored["keep_text"]) == (3, 0.01, False)
    assert (stored["target"], stored["data"]["label_column"]) == ("yes", "label")


def test_a_preset_is_chosen_by_the_start_of_its_title(headwise: Headwise, home: Path) -> None:
    model_folder(home / DEMO_MODEL)
    (home / DEMO_DATA).parent.mkdir()
    data_file(home / DEMO_DATA)
    assert headwise("submit", "--preset", "demo").out.startswith("Job 1 submitted. 6 examples")
    assert headwise("jobs", "--json").json[0]["name"] == "demo"


def test_jobs_lists_the_newest_first_and_by_state(headwise: Headwise, store: Database) -> None:
    assert "No jobs yet" in headwise("jobs").out
    finished_job(store)
    planned_job(store, name="[/b] :cat:")
    assert [job["id"] for job in headwise("jobs", "--json").json] == [2, 1]
    assert [job["id"] for job in headwise("jobs", "--json", "--limit", "1").json] == [2]
    found = headwise("jobs", "--json", "--state", "succeeded").json
    assert [(job["id"], job["state"]) for job in found] == [(1, "succeeded")]
    said = headwise("jobs").out
    assert "[/b]" in said.splitlines()[1]
    assert ":cat:" in said
    assert "6 of 6" in said


def test_the_table_of_jobs_leaves_columns_out_where_the_window_is_narrow(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_job(store)
    planned_job(store, name="a name of thirty characters ok")
    every = ["job", "kind", "name", "status", "queue", "examples", "rate", "time", "user"]
    for width, left_out in ((200, set()), (80, {"queue", "rate", "user"}), (40, {*every[4:7]})):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = headwise("jobs").out.splitlines()
        assert not left_out & set(lines[0].split())
        assert lines[0].split()[:4] == ["job", "kind", "name", "status"]
        assert all(len(line.rstrip()) <= width for line in lines)
        assert "attribution" in lines[1]
    monkeypatch.delenv("COLUMNS")  # a pipe has no width
    assert headwise("jobs").out.splitlines()[0].split() == every


def test_watch_prints_a_job_as_json_whenever_it_changes(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(store)
    polls = iter(range(3))

    def wait(_event: threading.Event, _seconds: float) -> bool:
        if next(polls) == 1:  # nothing has changed at the first
            with store.write() as tx:
                tx.run("UPDATE job SET state = 'failed', error = 'no luck'")
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    ran = headwise("watch", str(job), "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.status == 1
    assert [(one["id"], one["state"]) for one in found] == [(job, "running"), (job, "failed")]


def test_the_earlier_name_of_watching_a_log_names_the_new_one(headwise: Headwise) -> None:
    ran = headwise("logs", "7", "--follow")
    assert (ran.status, ran.out) == (2, "")
    assert "`headwise logs 7 --watch`" in ran.err
    assert "--follow" not in headwise("logs", "--help").out


def test_watch_ends_with_the_job(headwise: Headwise, store: Database) -> None:
    good, bad = finished_job(store), finished_job(store, failed=frozenset(range(6)))
    ran = headwise("watch", str(good))
    assert ran.status == 0
    assert "succeeded" in ran.out
    assert "6/6" in ran.out
    ran = headwise("watch", str(bad))
    assert ran.status == 1
    assert "failed: every example failed" in ran.out


def test_a_job_is_paused_resumed_cancelled_and_deleted(headwise: Headwise, store: Database) -> None:
    planned_job(store)
    assert headwise("pause", "1").out == "Job 1 is paused.\n"
    assert headwise("resume", "1").out == "Job 1 is waiting (no worker).\n"
    assert headwise("cancel", "1").out == "Job 1 is cancelling.\n"
    lifecycle.sweep_jobs(store)
    assert headwise("delete", "1").out == "Job 1 deleted.\n"
    assert headwise("jobs", "--json").json == []


def test_the_command_and_the_api_send_the_same_json(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    planned_job(store)
    client = new_app(load_settings()).test_client()
    command, api = headwise("jobs", "--json").json, client.get("/api/v1/jobs").json["jobs"]
    assert command == api
    assert {"examples_per_second", "keep_details_days", "waiting"} <= command[0].keys()


def test_why_a_job_waits(headwise: Headwise, store: Database) -> None:
    job = planned_job(store)
    assert headwise("why", str(job)).out == (
        "No worker serves the queue default: start one with `headwise worker --queues default`.\n"
    )
    assert headwise("why", str(job), "--json").json["cause"] == "workers"
    with store.write() as tx:
        tx.run("UPDATE job SET state = 'failed'")
    assert headwise("why", str(job)).out == "Job 1 does not wait: it is failed.\n"
    assert headwise("why", "7").status == 2
