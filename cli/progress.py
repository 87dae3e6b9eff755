"""Progress bars of running jobs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)

from cli.context import out, print_json
from cli.store.base import Facts, Store
from jobs.formatting import duration, rate, time_range


def watch(
    store: Store,
    jobs: Mapping[str, int],
    stop: threading.Event | None = None,
    *,
    quiet: bool = False,
    as_json: bool = False,
) -> int:
    """Show the progress of jobs, by their titles, until all have ended or `stop` is set.

    As JSON, each job is a line whenever it has changed. Returns 0 when all have succeeded, else 1.
    """
    stop = stop or threading.Event()
    found = _print_changes(store, jobs, stop) if as_json else _show_all(store, jobs, stop, quiet)
    for title, job in found.items():
        if job["error"] and not (quiet or as_json):
            out.print(f"{title} {job['state']}: {job['error']}")
        if job["warning"] and not (quiet or as_json):
            out.print(f"{title}, warning: {job['warning']}.")
    return 0 if all(job["state"] == "succeeded" for job in found.values()) else 1


def _print_changes(
    store: Store, jobs: Mapping[str, int], stop: threading.Event
) -> dict[str, Facts]:
    """Print jobs as JSON whenever they have changed; returns them as they were last."""
    shown: dict[str, Facts] = {}
    while True:
        found = _find(store, jobs)
        for title, job in found.items():
            if job != shown.get(title):
                print_json(job)
        sys.stdout.flush()
        shown = found
        if all(job["final"] for job in found.values()) or stop.wait(store.poll_seconds):
            return found


def _show_all(
    store: Store, jobs: Mapping[str, int], stop: threading.Event, quiet: bool
) -> dict[str, Facts]:
    """Show bars until all jobs have ended; returns them as they were last."""
    found = _find(store, jobs)
    columns = (
        TextColumn("{task.description} {task.fields[status]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[time]}"),
    )
    with Progress(*columns, console=out, disable=quiet) as progress:
        tasks = {
            title: progress.add_task(title, total=None, start=False, status="", rate="", time="")
            for title in jobs
        }
        while True:
            for title, job in found.items():
                _show(progress, tasks[title], job)
            if all(job["final"] for job in found.values()) or stop.wait(store.poll_seconds):
                break
            found = _find(store, jobs)
    return found


def _find(store: Store, jobs: Mapping[str, int]) -> dict[str, Facts]:
    return {title: store.job(number) for title, number in jobs.items()}


def _show(progress: Progress, task: TaskID, job: Facts) -> None:
    speed = rate(job["examples_per_second"]) if job["examples_per_second"] else ""
    if job["eta_seconds"]:
        speed += f", {time_range(job['eta_low_seconds'], job['eta_high_seconds'])} left"
    progress.update(
        task,
        total=job["examples"] or None,
        completed=job["examples_computed"],
        status=job["status"],
        rate=speed,
        time=duration(job["elapsed_seconds"]) if job["elapsed_seconds"] else "",
    )
