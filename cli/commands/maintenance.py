"""Commands on the life of jobs: change, purge, compact."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from cli.commands.jobs import AsJson, JobId
from cli.context import opened, out, print_json
from db.database import Database
from db.ops import deletion, retention
from db.ops.retention import Due
from jobs.errors import refuse
from jobs.settings import Retention
from scheduler.submission.control import change as change_job
from scheduler.submission.control import control

Kept = Annotated[float | None, typer.Option(help="In place of the settings' days; 0 is for ever.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Jobs")(change)
    for command in (purge, compact):
        app.command(rich_help_panel="Installation")(command)


def change(
    job: JobId,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher runs first.")] = None,
    keep_days: Annotated[
        float | None, typer.Option(help="Days after its end that it is deleted; 0 is never.")
    ] = None,
    keep_details_days: Annotated[
        float | None, typer.Option(help="Days until texts and rows per example go; 0 is never.")
    ] = None,
) -> None:
    """Change the priority of a waiting job, or how long a job is kept."""
    given = {
        "priority": priority,
        "keep_days": keep_days,
        "keep_details_days": keep_details_days,
    }
    raw = {key: value for key, value in given.items() if value is not None}
    with opened() as (_, database):
        change_job(database, job, raw)
    said = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in raw.items())
    out.print(f"Job {job}: {said}.")


def purge(
    job: Annotated[
        int | None, typer.Option(help="The details of this job, whether it is due or not.")
    ] = None,
    keep_days: Kept = None,
    keep_details_days: Kept = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise it is only shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is due to be deleted or purged, and with --yes remove it now."""
    for name, value in (("--keep-days", keep_days), ("--keep-details-days", keep_details_days)):
        if value is not None and not 0 <= value <= 36_500:
            raise refuse(name, value, "must be from 0 to 36,500", "0 keeps them for ever.")
    with opened() as (settings, database):
        kept = Retention(
            keep_days=settings.keep_days if keep_days is None else keep_days,
            keep_details_days=settings.keep_details_days
            if keep_details_days is None
            else keep_details_days,
        )
        found = (
            retention.find_due(database, kept)
            if job is None
            else [retention.find_details(database, job)]
        )
        if yes and job is not None:
            control(database, job, "purge")
        if yes:
            _finish(database, kept if job is None else Retention(keep_days=0, keep_details_days=0))
    if as_json:
        print_json({"removed": yes, "jobs": [asdict(one) for one in found]})
        return
    for one in found:
        out.print(_line(one))
    size, rows = sum(one.size for one in found), sum(one.rows for one in found)
    if not found:
        out.print("Nothing is due.")
    elif yes:
        out.print(f"Removed {rows:,} rows, about {_megabytes(size)}.")
    else:
        out.print(f"{rows:,} rows, about {_megabytes(size)}. Nothing was removed: --yes does it.")


def compact() -> None:
    """Rewrite SQLite's file without free space; nothing else can write meanwhile."""
    with opened() as (_, database):
        before, after = deletion.compact(database)
    out.print(f"The database's file has {_megabytes(after)}; it had {_megabytes(before)}.")


def _finish(database: Database, kept: Retention) -> None:
    while retention.retain(database, kept, seconds=5.0):
        pass
    while deletion.is_pending(database):
        deletion.empty_jobs(database, seconds=5.0)
    while deletion.give_back(database, time.monotonic() + 5.0):
        pass


def _line(one: Due) -> str:
    what = "whole job" if one.whole else "details"
    name = f" {json.dumps(one.name, ensure_ascii=False)}" if one.name else ""
    return f"job {one.job_id}{name}: {what}, {one.rows:,} rows, about {_megabytes(one.size)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
