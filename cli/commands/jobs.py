"""Commands that submit, list, watch and control jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cli.context import opened, out, print_json, print_table
from cli.options import (
    AsJson,
    JobId,
    KeyOptions,
    QueueOptions,
    RetentionOptions,
    RunOptions,
    SourceOptions,
    StartOptions,
    with_groups,
)
from cli.progress import watch as watch_jobs
from cli.submission import complete, start_from, submit_raw
from db.reads import jobs as job_reads
from db.reads.waiting import reasons
from jobs.errors import nearest, refuse
from jobs.formatting import rate
from jobs.states import SHOWN_JOB_STATES
from scheduler.serializers import job_json, job_title
from scheduler.submission.control import change as change_job
from scheduler.submission.control import control


@dataclass(frozen=True, kw_only=True)
class SpecOptions(KeyOptions):
    """The most used keys of specifications."""

    panel = "Specification"

    kind: Annotated[
        str | None, typer.Option(help="attribution (default), importance, pruning or attack.")
    ] = None
    method: Annotated[str | None, typer.Option(help="importance: taylor or leave-one-out.")] = None
    rtol: Annotated[float | None, typer.Option(help="attribution: relative error to aim at.")] = (
        None
    )
    integration: Annotated[
        str | None,
        typer.Option(help="attribution: auto, gauss-legendre:POINTS or left-riemann:POINTS."),
    ] = None
    target: Annotated[
        str | None, typer.Option(help="attribution: predicted, gold, or a label.")
    ] = None


@with_groups
def submit(
    source: SourceOptions,
    spec_keys: SpecOptions,
    queue: QueueOptions,
    start: StartOptions,
    run: RunOptions,
) -> int:
    """Check and submit a job."""
    with opened() as (settings, database):
        raw = start_from(start.spec, start.preset, settings)
        complete(raw, source, spec_keys, queue, assignments=start.set_)
        return submit_raw(raw, run, settings, database)


def why(job_id: JobId, as_json: AsJson = False) -> None:
    """Say why a job waits."""
    with opened() as (settings, database):
        job = job_reads.get_job(database, job_id)
        found = reasons(database, [job], settings).get(job_id)
    if as_json:
        print_json({"cause": found and found.cause, "message": found and found.message})
    else:
        out.print(found.message if found else f"Job {job_id} does not wait: it is {job.state}.")


def jobs(
    state: Annotated[str, typer.Option(help="Only jobs in this state.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest jobs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if state and state not in SHOWN_JOB_STATES:
        raise refuse("--state", state, "is not a state of a job", nearest(state, SHOWN_JOB_STATES))
    with opened() as (_, database):
        found = job_reads.list_jobs(database, state=state, limit=limit)
    if as_json:
        print_json([job_json(job) for job in found])
        return
    titles = ("job", "name", "state", "queue", "examples", "rate", "user")
    rows = []
    for job in found:
        done = f"{job.computed:,} of {job.examples:,}"
        speed = rate(job.rate) if job.rate else ""
        rows.append((job.id, job_title(job), job.state.value, job.queue, done, speed, job.user))
    print_table(titles, rows, "No jobs yet. `headwise submit --help` says how to submit one.")


def watch(job: JobId) -> int:
    """Show a job's progress until it ends; exit status 1 unless it succeeds."""
    with opened() as (_, database):
        return watch_jobs(database, {f"job {job}": job})


def cancel(job: JobId) -> None:
    """Cancel a job; running shards stop at their next batch."""
    _control(job, "cancel")


def pause(job: JobId) -> None:
    """Pause a job; finished shards stay."""
    _control(job, "pause")


def resume(job: JobId) -> None:
    """Resume a paused job."""
    _control(job, "resume")


def delete(job: JobId) -> None:
    """Delete a finished job and its results."""
    _control(job, "delete")


@with_groups
def change(job: JobId, changes: RetentionOptions) -> None:
    """Change the priority of an unfinished job, or how long a job is kept."""
    given = changes.values()
    with opened() as (_, database):
        change_job(database, job, given)
    changed = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in given.items())
    out.print(f"Job {job}: {changed}.")


def _control(job_id: int, action: str) -> None:
    with opened() as (_, database):
        control(database, job_id, action)
        if action == "delete":
            out.print(f"Job {job_id} deleted.")
        else:
            out.print(f"Job {job_id} is {job_reads.get_job(database, job_id).state.value}.")
