"""Commands that look at a running system: logs."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from cli.commands.jobs import AsJson, JobId
from cli.context import opened, out, print_json
from db.database import Database
from db.ops import logs
from db.ops.logs import LogLine
from db.reads import jobs as job_reads
from jobs.errors import nearest, refuse
from jobs.logs import LEVELS

POLL_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("logs", rich_help_panel="Jobs")(logs_command)


def logs_command(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    level: Annotated[str, typer.Option(help="This level and above: info, warning, error.")] = "",
    shard: Annotated[int | None, typer.Option(min=0, help="Of one shard only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the log of a job: lines of its workers and schedulers, also of dead ones."""
    if level and level not in LEVELS:
        raise refuse("--level", level, "is no level", nearest(level, LEVELS))
    with opened() as (_, database):
        job_reads.get_job(database, job)
        if follow:
            follow_log(database, job, level=level, shard=shard, as_json=as_json)
            return
        for part in logs.whole_log(database, job, level=level, shard=shard):
            for line in part:
                show(line, as_json)


def follow_log(
    database: Database,
    job_id: int,
    *,
    level: str = "",
    shard: int | None = None,
    as_json: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Print lines as they come until the job is final, its last lines are there, or `stop`."""
    stop, after = stop or threading.Event(), ""
    while True:
        # Asked first: what is stored by then has been read when the loop ends.
        ended = job_reads.get_job(database, job_id).final
        if ended:
            stop.wait(logs.SETTLE_SECONDS + 0.5)
        while found := logs.lines_after(
            database, job_id, level=level, shard=shard, after=after, limit=logs.CHUNK
        ):
            after = found[-1].cursor
            for line in found:
                show(line, as_json)
        if ended or stop.wait(POLL_SECONDS):
            return


def show(line: LogLine, as_json: bool) -> None:
    """Print a line."""
    if as_json:
        print_json(line.as_json())
    else:
        out.print(line.as_text())
