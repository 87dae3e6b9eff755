"""The page for operators: queues, workers, errors, users and disk; and the page of a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from db.accounts.audit import note_made
from db.ops import fleet, job_sizes, retention, samples
from db.ops.fleet import Worker
from db.ops.samples import Sample, Subject
from db.reads import operations, workers
from db.reads.errors import read_errors
from db.reads.operations import Now, Queue, WorkerTotal
from jobs import formatting
from jobs.errors import ConflictError, NotFoundError, refuse
from jobs.processes.space import spaces
from scheduler.figures.base import Figures
from scheduler.figures.over_time import History, figures_of_queues, figures_of_worker
from scheduler.submission.control import control
from webui.accounts import trail
from webui.context import choice, clean, database, integer, redirect, settings
from webui.figures.shown import ShownChart, show_of
from webui.periods import DEFAULT_PERIOD, PERIODS, Period

DISK_PAGE = 25
MOST_QUEUES = 6
"""Queues that are shown; the busiest."""
MOST_WORKERS = 50
MOST_ERRORS = 50
ATTEMPTS_PAGE = 25

WORKER_ORDERS: dict[str, tuple[str, Callable[[WorkerTotal], Any]]] = {
    "seen": ("last seen", lambda one: one.worker.silent if one.worker else math.inf),
    "rate": ("fastest", lambda one: -(one.total.rate or 0.0)),
    "failures": ("most failures", lambda one: -one.total.failures),
    "examples": ("most examples", lambda one: -one.total.examples),
}
DISK_ORDERS = {
    "size": "largest",
    "details": "most to purge",
    "age": "oldest",
    "examples": "most examples",
    "user": "by user",
}

blueprint = Blueprint("operations", __name__)


def _asked_period() -> Period:
    """The period that the query string asks for. Raises InputError."""
    return PERIODS[choice("hours", PERIODS, DEFAULT_PERIOD)]


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"here": _here}


def _here(**changes: object) -> str:
    """The address of this page with some of its choices changed."""
    known = ("hours", "workers", "disk", "disk_page")
    asked = {name: request.args[name] for name in known if request.args.get(name)}
    values: dict[str, Any] = {**asked, **changes}
    return url_for(".show", **values)


@blueprint.get("/operations")
def show() -> str:
    """Everything that an operator looks at in the morning."""
    opened, own, period = database(), settings(), _asked_period()
    now = operations.read_now(opened, own)
    since, _ = period.span
    queues = operations.read_queues(opened, now, since, period.step)
    errors = read_errors(opened, since)
    return render_template(
        "operations.html",
        periods=list(PERIODS.values()),
        queues=queues,
        shown_queues=queues[:MOST_QUEUES],
        figures=_queue_figures(queues, period),
        queue_rows=lambda queue: list(table_rows(queue.samples, period.row)),
        errors=errors[:MOST_ERRORS],
        error_count=sum(group.count for group in errors),
        error_groups=len(errors),
        users=operations.read_users(opened, now),
        **_processes(now, period),
        **_disk(),
    )


@blueprint.get("/operations/processes")
def processes() -> str:
    """Workers and schedulers alone, with which the page renews them."""
    now = operations.read_now(database(), settings())
    return render_template("operations_processes.html", **_processes(now, _asked_period()))


@blueprint.get("/workers")
def old_address() -> Response:
    """Lead the address that this page had to its workers."""
    return redirect(url_for(".show", _anchor="workers"), 301)


def _processes(now: Now, period: Period) -> dict[str, object]:
    order = choice("workers", WORKER_ORDERS, "seen")
    found = operations.read_workers(database(), now, period.span[0])
    found.sort(key=lambda one: (not one.alive, WORKER_ORDERS[order][1](one), one.name))
    alive = sum(one.alive for one in found)
    return {
        "period": period,
        "workers": found[:MOST_WORKERS],
        "workers_alive": alive,
        "workers_busy": sum(one.condition == "busy" for one in now.workers),
        "workers_gone": len(found) - alive,
        "worker_orders": {name: words for name, (words, _) in WORKER_ORDERS.items()},
        "worker_order": order,
        "schedulers": fleet.list_schedulers(database(), settings()),
    }


def _disk() -> dict[str, object]:
    order = choice("disk", DISK_ORDERS, "size")
    page = integer("disk_page", 1, low=1, high=1_000_000)
    whole = job_sizes.read_whole(database())
    offset = (page - 1) * DISK_PAGE
    return {
        "whole": whole,
        "spaces": list(spaces(settings())),
        "sizes": job_sizes.list_sizes(database(), order, limit=DISK_PAGE, offset=offset),
        "disk_order": order,
        "disk_orders": DISK_ORDERS,
        "disk_page": page,
        "disk_pages": max(1, math.ceil(whole.jobs / DISK_PAGE)),
    }


@blueprint.post("/operations/disk/<any(purge, delete):action>")
def remove(action: str) -> Response:
    """Purge or delete the jobs that were ticked, then back to the list."""
    numbers = [int(raw) for raw in request.form.getlist("job") if raw.isdecimal() and len(raw) < 10]
    if not numbers:
        raise refuse("job", None, "no job is ticked", "Tick jobs in the table of Disk.")
    done, refused = [], []
    for number in numbers:
        try:
            if action == "purge":
                retention.purge(database(), number)  # the scheduler removes the rows
            else:
                control(database(), number, action)
            done.append(f"job {number}")
        except (ConflictError, NotFoundError) as error:
            refused.append(str(error))
    if refused:
        if done:  # the request is refused, but not for these
            trail.write(f"{action} jobs", object=", ".join(done))
        word = {"purge": "purged", "delete": "deleted"}[action]
        raise ConflictError(" ".join([*refused, f"{formatting.counted(len(done), 'job')} {word}."]))
    for one in done:
        note_made(one)
    return redirect(_here(_anchor="disk"))


@blueprint.get("/workers/<path:name>")
def show_worker(name: str) -> str:
    """A worker: what it is, what it did, its speed and memory over time. Raises NotFoundError."""
    period = _asked_period()
    page = integer("page", 1, low=1, high=1_000_000)
    found, series, attempts = read_worker(name, period, page)
    history = worker_history(name, period, series)
    address = partial(
        url_for, "figure_api.get_worker_figure", worker=clean(name), hours=period.hours
    )
    figures = figures_of_worker(history)
    return render_template(
        "worker.html",
        name=name,
        worker=found,
        period=period,
        periods=list(PERIODS.values()),
        figures=_shown(figures, address),
        rows=list(table_rows(series, period.row)),
        total=samples.added(series),
        attempts=attempts[:ATTEMPTS_PAGE],
        page=page,
        more=len(attempts) > ATTEMPTS_PAGE,
    )


def worker_history(name: str, period: Period, series: Sequence[Sample]) -> History:
    """The samples of a worker as its figures show them."""
    return History(period=period.name, step=period.step, samples={name: series}, of_worker=True)


def read_worker(
    name: str, period: Period, page: int = 1
) -> tuple[Worker | None, list[Sample], list[workers.WorkerAttempt]]:
    """A worker as it is, its samples, and its attempts: those of a page and one more.

    The worker is None if it was not seen for a day. Raises NotFoundError for an unknown one.
    """
    opened, name = database(), clean(name)
    listed = fleet.list_workers(opened, settings())
    found = next((worker for worker in listed if worker.name == name), None)
    since, _ = period.span
    series = samples.read_series(opened, Subject.WORKER, since, period.step, name).get(name, [])
    offset = (page - 1) * ATTEMPTS_PAGE
    attempts = workers.list_attempts(opened, name, limit=ATTEMPTS_PAGE + 1, offset=offset)
    if found is None and not series and not attempts and page == 1:
        raise NotFoundError(f"There is no worker {name[:100]}.")
    return found, series, attempts


def _queue_figures(queues: Sequence[Queue], period: Period) -> list[ShownChart]:
    figures = figures_of_queues(queue_history(queues, period))
    address = partial(url_for, "figure_api.get_queue_figure", hours=period.hours)
    return _shown(figures, address, "queue-")


def _shown(
    figures: Figures[History], address: Callable[..., str], prefix: str = ""
) -> list[ShownChart]:
    """The figures that have something to show. `prefix`: that of their keys on the page."""
    kinds = [kind.name for kind in figures.kinds]
    found = [show_of(figures, name, address, key=prefix + name) for name in kinds]
    return [one for one in found if one]


def queue_history(queues: Sequence[Queue], period: Period) -> History:
    """The samples of the busiest queues as their figures show them."""
    busiest = {queue.name: queue.samples for queue in queues[:MOST_QUEUES]}
    return History(period=period.name, step=period.step, samples=busiest)


def table_rows(series: Iterable[Sample], seconds: int) -> Iterator[dict[str, Any]]:
    """The steps of a chart in longer ones, newest first: sums, and the largest of what waits."""
    groups: dict[int, list[Sample]] = {}
    for one in series:
        groups.setdefault(one.starts_at // seconds * seconds, []).append(one)
    for at, those in sorted(groups.items(), reverse=True):
        yield {
            "at": at,
            "examples": sum(one.examples for one in those),
            "failures": sum(one.failures for one in those),
            "rate": sum(one.examples for one in those) / seconds,
            **{name: _most(those, name) for name in ("waiting", "oldest", "memory")},
            "workers": min((n for one in those if (n := one.workers) is not None), default=None),
        }


def _most(those: Sequence[Sample], name: str) -> float | None:
    return max((n for one in those if (n := getattr(one, name)) is not None), default=None)
