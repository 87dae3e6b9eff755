"""Jobs are planned: from files, from the hub, for the workers that are alive."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import planning
from jobs.errors import InputError, Problem
from jobs.inputs.data.examples import Rows
from jobs.inputs.data.rows import HashedRow, SelectedRow, Summarizer
from jobs.settings import Settings
from scheduler import loop
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from tests.helpers.databases import rows
from tests.helpers.inputs import LABELS
from tests.helpers.jobs import BOB
from tests.helpers.scheduling import states, submitted
from tests.helpers.tiny import pairs_file


def test_a_tick_cuts_a_job_into_shards_and_lets_it_run(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    submitted(database, settings)
    scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT shard_no, lo, hi, state FROM shard") == [(0, 0, 6, "ready")]
    assert rows(database, "SELECT started_at IS NOT NULL FROM job")[0][0]


@pytest.mark.usefixtures("one_worker")
def test_there_is_a_range_of_whole_blocks_for_every_live_worker(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    fleet.report_worker(database, BOB, ProcessState.BUSY)
    pairs_file(settings.home / "pairs.jsonl", 20)
    submitted(database, settings)
    scheduler.tick()
    assert rows(database, "SELECT lo, hi FROM shard ORDER BY 1") == [(0, 8), (8, 20)]


def test_a_job_paused_before_it_was_planned_stays_paused(
    scheduler: Scheduler, database: Database, settings: Settings, app: Any
) -> None:
    job = submitted(database, settings)
    control(database, job, "pause")
    scheduler.tick()
    assert states(database) == ["paused"]
    assert app.sent == []
    control(database, job, "resume")
    scheduler.tick()
    assert app.sent == ["default"]


def test_a_planner_that_died_is_followed_by_another(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    submitted(database, settings)
    assert len(planning.take_plans(database)) == 1
    assert states(database) == ["planning"]
    scheduler.tick()
    assert states(database) == ["running"]


class HubRows:
    """Data that is loaded while planning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
        self.result = result
        monkeypatch.setattr(loop, "open_rows", self.open)

    def open(self, *_: object) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return nullcontext(self.result)


def hub_data(*labels: str) -> Rows:
    """Good rows with these labels, as the hub would give them."""
    rows = [SelectedRow(n, f"row {n + 1}", (f"text {n}",), label) for n, label in enumerate(labels)]
    summarizer = Summarizer()
    hashed = [HashedRow.of(row) for row in summarizer.watch(rows)]
    return Rows(rows=hashed, summary=summarizer.summary())


@pytest.fixture
def hub(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> HubRows:
    """A job on hub data is submitted, and the hub gives it good rows."""
    submitted(database, settings, data=HUB)
    return HubRows(monkeypatch, hub_data(*LABELS, *LABELS))


HUB = {"path": None, "dataset": "org/set", "split": "test", "label_column": "label"}


def test_hub_data_is_loaded_and_stored_while_planning(
    scheduler: Scheduler, database: Database, hub: HubRows
) -> None:
    scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT examples, data_fingerprint FROM job") == [
        (6, hub.result.summary.fingerprint)
    ]
    found = rows(database, "SELECT text_a, gold FROM example ORDER BY example_no")
    assert found == [(f"text {n}", n % 3) for n in range(6)]


def test_hub_data_that_cannot_be_loaded_fails_the_job_in_words(
    scheduler: Scheduler, database: Database, hub: HubRows
) -> None:
    problem = Problem(field="data.dataset", value="org/set", message="cannot be loaded: offline")
    hub.result = InputError(problem)
    scheduler.tick()
    assert rows(database, "SELECT state, error FROM job") == [
        ("failed", "data.dataset: cannot be loaded: offline (given: 'org/set').")
    ]
    assert rows(database, "SELECT COUNT(*) FROM shard") == [(0,)]
    scheduler.tick()
    assert states(database) == ["failed"]


def test_hub_labels_that_the_model_does_not_know_fail_the_job(
    scheduler: Scheduler, database: Database, hub: HubRows
) -> None:
    hub.result = hub_data(*LABELS, "no", "perhaps", "yes")
    scheduler.tick()
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "row 5 has a label that the model does not know (given: 'perhaps')" in error


def test_one_bad_job_does_not_stop_the_others(
    scheduler: Scheduler, database: Database, settings: Settings, hub: HubRows
) -> None:
    submitted(database, settings)
    hub.result = InputError(Problem(field="data", value=None, message="broken"))
    scheduler.tick()
    assert states(database) == ["failed", "running"]
