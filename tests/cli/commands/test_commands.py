"""What every command does with good input."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from cli import supervisor
from cli.supervisor import Child, Supervisor
from db.database import Database
from db.queue import claims, lifecycle
from db.reads import jobs as job_reads
from db.results import commit as results
from db.results import export as exports
from db.views import VIEW_NAMES, VIEWS, schema_page
from db.views.kinds import KIND_VIEWS
from jobs.settings import settings_page
from scheduler.submission.presets import DEMO_DATA, DEMO_MODEL
from tests.cli.conftest import Headwise
from tests.inputs import data_file, model_folder
from tests.support import ALICE, completed, planned_job

GOOD = ("--model", "./home/model", "--data", "home/pairs.jsonl", "--text", "premise,hypothesis")
COMMANDS = (
    "up worker scheduler web migrate health submit study jobs watch cancel pause resume sql export "
    "prune schema doctor"
)


def finished_job(database: Database, failed: frozenset[int] = frozenset()) -> int:
    """A job of six examples, computed."""
    job = planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        inside = frozenset(n for n in failed if held.lo <= n < held.hi)
        assert results.commit_shard(database, held, completed(held.lo, held.hi, inside), "m")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    return job


def test_help_names_every_command(headwise: Headwise) -> None:
    ran = headwise("--help")
    assert ran.status == 0
    assert ran.err == ""
    listed = [line.split()[1] for line in ran.out.splitlines() if line.startswith("│ ")]
    assert set(COMMANDS.split()) <= set(listed)


@pytest.mark.parametrize("command", [*COMMANDS.split(), "delete"])
def test_every_command_explains_itself(headwise: Headwise, command: str) -> None:
    ran = headwise(command, "--help")
    assert ran.status == 0
    assert f" {command} [OPTIONS]" in ran.out.splitlines()[1]


# submit


def test_submit_adds_a_job(headwise: Headwise) -> None:
    ran = headwise("submit", *GOOD, "--name", "mine", "--priority", "5", "--set", "data.sample=4")
    assert (ran.status, ran.out) == (0, "Job 1 submitted. 4 examples in 1 shards.\n")
    (job,) = headwise("jobs", "--json").json
    assert (job["id"], job["name"], job["state"], job["priority"]) == (1, "mine", "queued", 5)


def test_submit_says_when_the_work_is_already_there(headwise: Headwise) -> None:
    assert headwise("submit", *GOOD, "--json").json == {
        "job": 1,
        "existing": False,
        "same_as": None,
    }
    assert headwise("submit", *GOOD, "--json").json == {"job": 1, "existing": True, "same_as": None}
    assert "Job 1 is the same work" in headwise("submit", *GOOD).out


def test_submit_offers_results_that_are_there(headwise: Headwise, store: Database) -> None:
    headwise("submit", *GOOD)
    with store.write() as connection:
        connection.execute(text("UPDATE job SET state = 'succeeded', started_at = 9e9"))
    ran = headwise("submit", *GOOD)
    assert ran.out == "Job 1 has these results already; --again runs it again.\n"
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


def test_submit_can_check_only(headwise: Headwise) -> None:
    assert headwise("submit", *GOOD, "--check").out == "Good. 6 examples in 1 shards.\n"
    found = headwise("submit", *GOOD, "--check", "--json").json
    assert (found["examples"], found["shards"], found["seconds"]) == (6, 1, None)
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
    with store.read() as connection:
        stored = json.loads(connection.execute(text("SELECT spec FROM job")).scalar_one())
    assert (stored["edges"], stored["rtol"], stored["keep_text"]) == (3, 0.01, False)
    assert (stored["target"], stored["data"]["label_column"]) == ("yes", "label")


def test_a_preset_is_chosen_by_the_start_of_its_title(headwise: Headwise, home: Path) -> None:
    model_folder(home / DEMO_MODEL)
    (home / DEMO_DATA).parent.mkdir()
    data_file(home / DEMO_DATA)
    assert headwise("submit", "--preset", "demo").out.startswith("Job 1 submitted. 6 examples")
    assert headwise("jobs", "--json").json[0]["name"] == "demo"


# jobs, watch, cancel, pause, resume, delete


def test_jobs_lists_the_newest_first_and_by_state(headwise: Headwise, store: Database) -> None:
    assert "No jobs yet" in headwise("jobs").out
    finished_job(store)
    planned_job(store, name="[/b] :cat:")
    assert [job["id"] for job in headwise("jobs", "--json").json] == [2, 1]
    assert [job["id"] for job in headwise("jobs", "--json", "--limit", "1").json] == [2]
    found = headwise("jobs", "--json", "--state", "succeeded").json
    assert [(job["id"], job["state"]) for job in found] == [(1, "succeeded")]
    lines = headwise("jobs").out.splitlines()
    assert "[/b] :cat:" in lines[1]
    assert "6 of 6" in lines[2]


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
    assert headwise("resume", "1").out == "Job 1 is running.\n"
    assert headwise("cancel", "1").out == "Job 1 is cancelling.\n"
    lifecycle.sweep_jobs(store)
    assert headwise("delete", "1").out == "Job 1 deleted.\n"
    assert headwise("jobs", "--json").json == []


# sql, export, schema


def test_sql_as_table_json_and_csv(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    query = "SELECT rank, layer, head FROM head_importance ORDER BY rank LIMIT 2"
    assert headwise("sql", query, "--json").json == [
        {"rank": 1, "layer": 1, "head": 2},
        {"rank": 2, "layer": 1, "head": 1},
    ]
    assert headwise("sql", query, "--csv").out.splitlines() == [
        "rank,layer,head",
        "1,1,2",
        "2,1,1",
    ]
    assert [line.split() for line in headwise("sql", query).out.splitlines()] == [
        ["rank", "layer", "head"],
        ["1", "1", "2"],
        ["2", "1", "1"],
    ]


def test_sql_shows_texts_as_they_are(headwise: Headwise) -> None:
    ran = headwise("sql", "SELECT '[/b] [unused1] :cat:' AS token, NULL AS missing")
    assert ran.status == 0
    assert "[/b] [unused1] :cat:" in ran.out


def test_sql_reads_standard_input(headwise: Headwise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 7 AS seven"))
    assert headwise("sql", "-", "--json").json == [{"seven": 7}]


def test_sql_says_when_rows_are_left_out(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, store: Database
) -> None:
    finished_job(store)
    monkeypatch.setenv("HEADWISE_SQL_ROWS", "5")
    ran = headwise("sql", "SELECT example, layer, head FROM head_scores")
    assert "Only the first 5 rows; --csv gives all of them." in ran.out
    ran = headwise("sql", "SELECT example, layer, head FROM head_scores", "--csv")
    assert len(ran.out.splitlines()) == 1 + 36


def test_export_to_the_terminal_is_csv(headwise: Headwise, store: Database) -> None:
    finished_job(store)
    lines = list(csv.DictReader(io.StringIO(headwise("export", "1").out)))
    assert len(lines) == 6
    assert {line["job_id"] for line in lines} == {"1"}
    assert sorted(line["rank"] for line in lines) == ["1", "2", "3", "4", "5", "6"]


# An attribution job has no rows in the views of other kinds, and needs no other job; nobody has
# logged anything here.
OTHERS = {"workers", "schedulers", "job_parents", "study_steps", "log_lines"} | {
    view.name for view in KIND_VIEWS
}
PER_JOB = [name for name in VIEW_NAMES if name not in OTHERS - {"importances"}]


@pytest.mark.parametrize("view", PER_JOB)
def test_every_format_holds_the_same_rows(
    headwise: Headwise,
    store: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    view: str,
) -> None:
    """In parts of two rows, where the first ones have nothing in some columns."""
    monkeypatch.setattr(exports, "CHUNK", 2)
    finished_job(store)
    finished_job(store, failed=frozenset({4}))
    for suffix in ("csv", "jsonl", "parquet"):
        ran = headwise("export", "2", "--table", view, "--to", f"rows.{suffix}")
        assert (ran.status, ran.out, ran.err) == (0, "", "")
    columns = [column.name for column in next(v for v in VIEWS if v.name == view).columns]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "rows.parquet")
    with (tmp_path / "rows.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert table.column_names == columns
    assert table.to_pylist() == lines
    assert [list(row) for row in cells] == [columns] * len(lines)
    assert [["" if v is None else str(v) for v in row.values()] for row in lines] == [
        list(row.values()) for row in cells
    ]
    with store.read() as connection:
        count = connection.execute(text(f"SELECT COUNT(*) FROM {view} WHERE job_id = 2")).scalar()
    assert len(lines) == count


def test_parquet_columns_have_the_published_types(
    headwise: Headwise, store: Database, tmp_path: Path
) -> None:
    finished_job(store)
    headwise("export", "1", "--table", "examples", "--to", "rows.parquet")
    schema = pq.read_schema(tmp_path / "rows.parquet")
    assert schema.field("error").type == pa.string()
    assert schema.field("truncated").type == pa.bool_()
    assert schema.field("example").type == pa.int64()


def test_export_says_what_it_cannot_write(
    headwise: Headwise, store: Database, tmp_path: Path
) -> None:
    (tmp_path / "folder.csv").mkdir()
    finished_job(store)
    ran = headwise("export", "1", "--to", "folder.csv")
    assert ran.status == 2
    assert "--to: cannot be written" in ran.err
    assert ran.err.count("\n") == 1


def test_schema_prints_the_generated_pages(headwise: Headwise) -> None:
    assert headwise("schema").out == schema_page()
    assert headwise("schema", "--settings").out == settings_page()


# doctor, completion, processes


def test_doctor_finds_a_new_installation_good(headwise: Headwise, home: Path) -> None:
    ran = headwise("doctor")
    assert ran.status == 0
    assert f"ok   data folder: {home}" in ran.out
    found = headwise("doctor", "--json").json
    assert [check["name"] for check in found["checks"]] == [
        "python",
        "data folder",
        "database",
        "broker",
        "workers",
        "packages",
        "device",
    ]
    assert all(check["ok"] and check["detail"] for check in found["checks"])


@pytest.mark.parametrize(
    ("key", "value", "check"),
    [
        ("HEADWISE_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d", "database"),
        ("HEADWISE_BROKER_URL", "redis://:secret@127.0.0.1:1/0", "broker"),
    ],
)
def test_doctor_names_what_does_not_answer(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, key: str, value: str, check: str
) -> None:
    monkeypatch.setenv(key, value)
    ran = headwise("doctor", "--json")
    assert ran.status == 1
    failed = {found["name"]: found["detail"] for found in ran.json["checks"] if not found["ok"]}
    assert "does not answer" in failed[check]
    assert "secret" not in ran.out
    assert "FAIL" in headwise("doctor").out


def test_doctor_counts_live_workers(headwise: Headwise, store: Database) -> None:
    claims.beat(store, ALICE, "idle", None)
    assert "workers: 1 alive: 1 on cpu for default\n" in headwise("doctor").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_complete(home: Path, shell: str) -> None:
    """Asked as a shell does: through the environment of a real process."""
    headwise = Path(sys.executable).with_name("headwise")
    ask = {
        "_HEADWISE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "headwise sc",
        "COMP_CWORD": "1",
    }
    ask |= {"_TYPER_COMPLETE_ARGS": "headwise sc", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    ran = subprocess.run(
        [headwise], env=os.environ | ask, capture_output=True, text=True, check=True
    )
    assert "scheduler" in ran.stdout
    assert "schema" in ran.stdout
    assert "submit" not in ran.stdout


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    command = f"{Path(sys.executable).with_name('headwise')} schema | true"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_the_scheduler_ends_on_sigterm(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "scheduler"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        assert "scheduler started" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "scheduler stopped" in rest


class Stop(supervisor.threading.Event):
    """Set once the supervisor has looked at its children this often."""

    def __init__(self, children: list[Child], starts: int) -> None:
        super().__init__()
        self.children, self.starts, self.pids = children, starts, set[int]()

    def wait(self, timeout: float | None = None) -> bool:
        for child in self.children:
            if child.process is not None:
                self.pids.add(child.process.pid)
                child.process.wait(timeout=60)
        if len(self.pids) >= self.starts:
            self.set()
        return super().wait(timeout)


def test_the_supervisor_starts_a_child_again_that_ended(home: Path, tmp_path: Path) -> None:
    child = Child(name="worker 1", arguments=["schema"], log_folder=tmp_path / "logs")
    supervised = Supervisor([child])
    supervised.stop = Stop([child], starts=2)
    supervised.supervise()
    assert len(supervised.stop.pids) == 2
    assert (tmp_path / "logs/worker-1.log").read_text() == schema_page() * 2


def test_a_child_that_keeps_dying_is_started_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now)
    starts: list[float] = []
    child = Child(name="x", arguments=[])

    def start() -> None:
        starts.append(now)
        child.started_at = now
        child.process = subprocess.Popen(["true"])
        child.process.wait()

    monkeypatch.setattr(child, "start", start)
    while len(starts) < 9:
        child.check()
        now += 0.5
    gaps = [after - before for before, after in pairwise(starts)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 2.0
    assert 30.0 <= gaps[-1] <= 31.0
