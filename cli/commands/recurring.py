"""`headwise recurring`: submissions that the scheduler makes at given times."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.context import opened, out, print_json, print_table
from cli.options import AsJson, StartOptions, with_groups
from cli.submission import complete, start_from
from db.queue import recurring
from db.reads import jobs as job_reads
from scheduler.submission import recurring as recurring_jobs

Number = Annotated[int, typer.Argument(help="Number of the recurring job.", metavar="NUMBER")]

app = typer.Typer(help="Submit jobs at given times, by cron expressions.", no_args_is_help=True)


@app.command()
@with_groups
def add(
    start: StartOptions,
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
    ],
    zone: Annotated[str, typer.Option(help="Time zone, e.g. Europe/Berlin.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    job: Annotated[int | None, typer.Option(help="Submit a copy of this job.")] = None,
) -> None:
    """Check a submission, which the scheduler submits whenever it is due."""
    with opened() as (settings, database):
        if job is None:
            raw = start_from(start.spec, start.preset, settings)
        else:
            found = job_reads.get_job(database, job)
            raw = {"spec": found.spec, "name": found.name, "priority": found.priority}
        complete(raw, assignments=start.set_)
        given = {"cron": cron, "zone": zone, "name": name, "submission": raw}
        number = recurring_jobs.add(given, settings, database)
        added = recurring.get(database, number)
    out.print(f"Recurring job {number} added, first at {_when(added.next_at)}.")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List recurring jobs, with their next time and the result of the last."""
    with opened() as (_, database):
        found = recurring.find(database)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = []
    for one in found:
        following = "paused" if one.paused else one.error or _when(one.next_at)
        rows.append((one.id, one.name, one.cron, one.zone, following, _last(one)))
    none = "No recurring jobs yet. `headwise recurring add --help` says how to add one."
    print_table(("number", "name", "when", "zone", "next", "last"), rows, none)


@app.command()
def pause(number: Number) -> None:
    """Stop submitting a recurring job until it is resumed."""
    _control(number, "pause", "paused")


@app.command()
def resume(number: Number) -> None:
    """Resume a recurring job; occurrences that were due meanwhile are skipped."""
    _control(number, "resume", "resumed")


@app.command()
def remove(number: Number) -> None:
    """Remove a recurring job; the jobs that it submitted stay."""
    _control(number, "remove", "removed")


def _control(number: int, action: str, done: str) -> None:
    with opened() as (_, database):
        recurring_jobs.control(database, number, action)
    out.print(f"Recurring job {number} {done}.")


def _last(one: recurring.RecurringJob) -> str:
    if not one.runs:
        return ""
    run = one.runs[0]
    return f"not submitted: {run.error}" if run.error else f"job {run.job_id} {run.state or 'gone'}"


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
