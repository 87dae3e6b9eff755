"""Progress bars of running jobs."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from cli.context import out
from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.formatting import duration, rate
from jobs.states import JobState

POLL_SECONDS = 0.4


def watch(
    database: Database,
    jobs: Mapping[str, int],
    stop: threading.Event | None = None,
    *,
    quiet: bool = False,
) -> int:
    """Show the progress of jobs, by their titles, until all have ended or `stop` is set.

    Returns 0 when all have succeeded, else 1.
    """
    stop = stop or threading.Event()
    found = _find(database, jobs)
    columns = (
        TextColumn("{task.description} {task.fields[state]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=quiet) as progress:
        tasks = {
            title: progress.add_task(title, total=None, start=False, state="", rate="")
            for title in jobs
        }
        while True:
            for title, job in found.items():
                _show(progress, tasks[title], job)
            if all(job.final for job in found.values()) or stop.wait(POLL_SECONDS):
                break
            found = _find(database, jobs)
    for title, job in found.items():
        if job.error and not quiet:
            out.print(f"{title} {job.state.value}: {job.error}")
        if job.warning and not quiet:
            out.print(f"{title}, warning: {job.warning}.")
    return 0 if all(job.state is JobState.SUCCEEDED for job in found.values()) else 1


def _find(database: Database, jobs: Mapping[str, int]) -> dict[str, Job]:
    return {title: job_reads.get_job(database, number) for title, number in jobs.items()}


def _show(progress: Progress, task: TaskID, job: Job) -> None:
    if job.started_at is not None and progress.tasks[task].start_time is None:
        progress.start_task(task)
    speed = rate(job.rate) if job.rate else ""
    if job.eta:
        speed += f", {duration(job.eta)} left"
    progress.update(
        task,
        total=job.examples or None,
        completed=job.computed,
        state=job.waiting or job.state.value,
        rate=speed,
    )
    if job.final:
        progress.stop_task(task)
