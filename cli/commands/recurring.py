"""`headwise recurring`: jobs that the scheduler submits again and again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.commands.jobs import AsJson, assign, start_from, user
from cli.context import opened, out, print_json
from db.queue import recurring
from db.reads import jobs as job_reads
from scheduler.submission.presets import presets
from scheduler.submission.recurring import add as add_recurring
from scheduler.submission.recurring import control

Number = Annotated[int, typer.Argument(help="Number of the recurring job.", metavar="NUMBER")]

app = typer.Typer(help="Jobs that the scheduler submits again and again.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    """Add the group of commands."""
    for command in (pause, resume, remove):
        app.command()(command)
    app.command("add")(add_command)
    app.command("list")(list_command)
    main.add_typer(app, name="recurring", rich_help_panel="Jobs")


def add_command(
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
    ],
    zone: Annotated[str, typer.Option(help="Time zone, e.g. Europe/Berlin.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    job: Annotated[int | None, typer.Option(help="Submit what this job was.")] = None,
    spec: Annotated[
        Path | None, typer.Option(help="JSON file with the spec or the submission.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Preset to submit, by its title.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key, e.g. priority=-10.")
    ] = None,
) -> None:
    """Check a submission and let the scheduler make it whenever it is due."""
    with opened() as (settings, database):
        if job is None:
            raw = start_from(spec, preset, presets(settings))
        else:
            found = job_reads.get_job(database, job)
            raw = {"spec": found.spec, "name": found.name, "priority": found.priority}
        raw["user"] = user()
        for assignment in set_ or ():
            assign(raw, assignment)
        given = {"cron": cron, "zone": zone, "name": name, "submission": raw}
        number = add_recurring(given, settings, database)
        added = recurring.get(database, number)
    out.print(f"Recurring job {number} added, first at {_when(added.next_at)}.")


def list_command(as_json: AsJson = False) -> None:
    """List recurring jobs, with their next time and what came of the last one."""
    with opened() as (_, database):
        found = recurring.find(database)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table("number", "name", "when", "zone", "next", "last", box=None, pad_edge=False)
    for one in found:
        following = "paused" if one.paused else one.error or _when(one.next_at)
        table.add_row(str(one.id), one.name, one.cron, one.zone, following, _last(one))
    out.print(table if found else "None yet. `headwise recurring add --help` says how to add one.")


def pause(number: Number) -> None:
    """Submit it no more until it is resumed."""
    _control(number, "pause", "paused")


def resume(number: Number) -> None:
    """Go on; what was due meanwhile is not made up for."""
    _control(number, "resume", "goes on")


def remove(number: Number) -> None:
    """Forget it; the jobs that it submitted stay."""
    _control(number, "remove", "removed")


def _control(number: int, action: str, done: str) -> None:
    with opened() as (_, database):
        control(database, number, action)
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
