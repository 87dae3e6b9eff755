"""Commands that submit, list, watch and control jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cli.context import out, print_json, print_table
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
from cli.store.chosen import connected
from jobs.errors import nearest, refuse
from jobs.formatting import duration, rate
from jobs.states import SHOWN_JOB_STATES


@dataclass(frozen=True, kw_only=True)
class SpecOptions(KeyOptions):
    """The most used keys of specifications."""

    panel = "Specification"

    kind: Annotated[
        str | None, typer.Option(help="attribution (default), importance, pruning or attack.")
    ] = None
    method: Annotated[
        str | None,
        typer.Option(help="importance: taylor, leave-one-out or embedding-gradient."),
    ] = None
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
    from cli.submission import complete, start_from, submit_raw

    with connected() as store:
        raw = start_from(start.spec, start.preset, store)
        complete(store, raw, source, spec_keys, queue, assignments=start.set_)
        return submit_raw(store, raw, run)


def why(job_id: JobId, as_json: AsJson = False) -> None:
    """Say why a job waits."""
    with connected() as store:
        found = store.why(job_id)
        if as_json:
            print_json(found)
        else:
            message = found["message"]
            out.print(message or f"Job {job_id} does not wait: it is {store.job(job_id)['state']}.")


def jobs(
    state: Annotated[str, typer.Option(help="Only jobs in this state.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest jobs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if state and state not in SHOWN_JOB_STATES:
        raise refuse("--state", state, "is not a state of a job", nearest(state, SHOWN_JOB_STATES))
    with connected() as store:
        found = store.jobs(state, limit)
    if as_json:
        print_json(found)
        return
    titles = ("job", "kind", "name", "status", "queue", "examples", "rate", "time", "user")
    optional = ("queue", "rate", "user", "examples")
    rows = []
    for job in found:
        done = f"{job['examples_computed']:,} of {job['examples']:,}"
        speed = rate(job["examples_per_second"]) if job["examples_per_second"] else ""
        time = duration(job["elapsed_seconds"]) if job["elapsed_seconds"] else ""
        about = (job["id"], job["kind"], job["title"], job["status"], job["queue"])
        rows.append((*about, done, speed, time, job["user"]))
    none = "No jobs yet. `headwise submit --help` says how to submit one."
    print_table(titles, rows, none, optional=optional, broken=("name", "status"))


def watch(job: JobId, as_json: AsJson = False) -> int:
    """Show a job's progress until it ends; exit status 1 unless it succeeds.

    As JSON, it is a line whenever the job has changed.
    """
    from cli.progress import watch as watch_jobs

    with connected() as store:
        return watch_jobs(store, {f"job {job}": job}, as_json=as_json)


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
    with connected() as store:
        store.delete(job)
    out.print(f"Job {job} deleted.")


@with_groups
def change(job: JobId, changes: RetentionOptions) -> None:
    """Change the priority of an unfinished job, or how long a job is kept."""
    given = changes.values()
    with connected() as store:
        store.change(job, given)
    changed = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in given.items())
    out.print(f"Job {job}: {changed}.")


def _control(job_id: int, action: str) -> None:
    with connected() as store:
        found = store.control(job_id, action)
    out.print(f"Job {job_id} is {found['status']}.")
