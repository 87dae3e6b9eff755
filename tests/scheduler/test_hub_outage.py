"""A hub that does not answer while a job is planned: wait, try again, and say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import pytest
from huggingface_hub import errors

from db.database import Database
from db.reads import jobs as job_reads
from jobs.settings import Settings
from jobs.states import MAX_PLAN_TRIES, plan_backoff_seconds
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission

HUB = {"path": None, "dataset": "org/set", "split": "test", "text_columns": ["a", "b"]}


class Response:
    """As much of an HTTP response as the hub's errors look at."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None

    def __init__(self, status: int) -> None:
        self.status_code = status


def answered(status: int, kind: type[errors.HfHubHTTPError] = errors.HfHubHTTPError) -> Exception:
    """The hub's error for an answer with this status."""
    return kind(f"HTTP {status}", response=Response(status))  # type: ignore[arg-type]


def caused(error: Exception, cause: Exception) -> Exception:
    """`error`, raised from `cause`."""
    error.__cause__ = cause
    return error


class Hub:
    """`load_dataset` as the test wants it: an error, or rows."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def load(self, *_: object, **__: object) -> datasets.Dataset:
        self.asked += 1
        if self.error is not None:
            raise self.error
        rows = [{"a": f"text {n}", "b": "second", "label": n % 3} for n in range(4)]
        return datasets.Dataset.from_list(rows)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(datasets, "load_dataset", hub.load)
    return hub


@pytest.fixture
def job(database: Database, settings: Settings) -> int:
    raw = raw_submission(settings.home, data={**HUB, "label_column": "label"})
    return submit(check(raw, settings, database), database)


@pytest.fixture
def scheduler(database: Database, settings: Settings, app: Any) -> Scheduler:
    return Scheduler(settings, database, app)


@pytest.fixture
def tomorrow(database: Database) -> Callable[[], None]:
    """Let the time of the next try come."""

    def move() -> None:
        with database.write() as tx:
            tx.run("UPDATE job SET plan_at = 1 WHERE plan_at > 0")

    return move


AWAY = [
    ConnectionError("Couldn't reach 'org/set' on the Hub (ConnectTimeout)"),
    TimeoutError("timed out"),
    errors.HTTPError("connection refused"),
    answered(503),
    answered(500),
    answered(429),
    caused(datasets.exceptions.DatasetGenerationError("building"), answered(502)),
    caused(datasets.exceptions.DatasetGenerationError("building"), errors.HTTPError("reset")),
]
FINAL = [
    datasets.exceptions.DatasetNotFoundError("Dataset 'org/set' doesn't exist on the Hub"),
    caused(
        datasets.exceptions.DatasetNotFoundError("Revision 'x' doesn't exist"),
        answered(404, errors.RevisionNotFoundError),
    ),
    answered(404, errors.RepositoryNotFoundError),
    answered(403, errors.GatedRepoError),
    answered(401),
    ValueError("Unknown split 'tset'"),
    caused(ConnectionError("Couldn't reach it"), errors.OfflineModeIsEnabled("offline")),
]


@pytest.mark.parametrize("error", AWAY, ids=str)
def test_a_job_waits_for_a_hub_that_does_not_answer(
    scheduler: Scheduler,
    database: Database,
    job: int,
    hub: Hub,
    tomorrow: Callable[[], None],
    error: Exception,
) -> None:
    hub.error = error
    scheduler.tick()
    waiting = job_reads.get_job(database, job)
    assert waiting.state == "queued"
    assert waiting.plan_tries == 1
    assert waiting.plan_at is not None
    assert 8 < waiting.plan_at - waiting.now <= 10
    assert waiting.waiting is not None
    assert waiting.waiting.startswith("waiting for the hub, next try at ")
    assert str(waiting.error).startswith("The hub does not answer: ")
    scheduler.tick()
    assert hub.asked == 1
    tomorrow()
    hub.error = None
    scheduler.tick()
    running = job_reads.get_job(database, job)
    assert (running.state, running.examples, running.error) == ("running", 4, None)
    assert (running.plan_at, running.waiting) == (None, None)
    assert running.understood is not None
    assert running.understood.label_counts == {"no": 2, "maybe": 1, "yes": 1}


@pytest.mark.parametrize("error", FINAL, ids=str)
def test_what_will_not_pass_fails_at_once(
    scheduler: Scheduler, database: Database, job: int, hub: Hub, error: Exception
) -> None:
    hub.error = error
    scheduler.tick()
    failed = job_reads.get_job(database, job)
    assert failed.state == "failed"
    assert "data.dataset: cannot be loaded" in str(failed.error)
    assert failed.plan_tries == 0


def test_it_is_given_up_in_the_end(
    scheduler: Scheduler, database: Database, job: int, hub: Hub, tomorrow: Callable[[], None]
) -> None:
    hub.error = TimeoutError("timed out")
    for _ in range(MAX_PLAN_TRIES + 2):
        scheduler.tick()
        tomorrow()
    assert hub.asked == MAX_PLAN_TRIES
    failed = job_reads.get_job(database, job)
    assert failed.state == "failed"
    assert failed.error == (
        f"The hub does not answer: timed out. Given up after {MAX_PLAN_TRIES} tries."
    )


def test_a_waiting_job_can_be_cancelled_and_holds_nothing_up(
    scheduler: Scheduler, database: Database, settings: Settings, job: int, hub: Hub
) -> None:
    hub.error = TimeoutError("timed out")
    other = submit(check(raw_submission(settings.home), settings, database), database)
    scheduler.tick()
    assert job_reads.get_job(database, other).state == "running"
    control(database, job, "cancel")
    scheduler.tick()
    assert job_reads.get_job(database, job).state == "cancelled"


def test_the_waits_grow_to_a_limit() -> None:
    waits = [plan_backoff_seconds(tries) for tries in range(1, MAX_PLAN_TRIES)]
    assert waits[:6] == [10, 20, 40, 80, 160, 300]
    assert 1800 < sum(waits) < 2700
