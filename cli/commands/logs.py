"""The command that prints the log of a job: logs."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from cli.context import opened, out, print_json
from cli.options import AsJson, JobId
from db.database import Database
from db.ops import logs as job_logs
from db.ops.logs import LogLine
from db.reads import jobs as job_reads
from jobs.errors import nearest, refuse
from jobs.logs import LEVELS

POLL_SECONDS = 1.0


def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the job has ended.")
    ] = False,
    level: Annotated[str, typer.Option(help="This level and above: info, warning, error.")] = "",
    shard: Annotated[int | None, typer.Option(min=0, help="Only lines of this shard.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's log: lines of its workers and schedulers, dead ones included."""
    if level and level not in LEVELS:
        raise refuse("--level", level, "is not a level", nearest(level, LEVELS))
    with opened() as (_, database):
        job_reads.get_job(database, job)
        if follow:
            follow_log(database, job, level=level, shard=shard, as_json=as_json)
            return
        for part in job_logs.whole_log(database, job, level=level, shard=shard):
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
    """Print lines as they come, until the job is final and its last lines are stored, or `stop`."""
    stop, after = stop or threading.Event(), ""
    while True:
        # Asked before reading, so that lines stored before the end are all read.
        ended = job_reads.get_job(database, job_id).final
        if ended:
            stop.wait(job_logs.SETTLE_SECONDS + 0.5)
        while found := job_logs.lines_after(
            database, job_id, level=level, shard=shard, after=after, limit=job_logs.CHUNK
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
