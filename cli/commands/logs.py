"""The command that prints the log of a job: logs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.context import out, print_json
from cli.options import MAX_ID, AsJson, JobId
from cli.store.base import Facts, Store
from cli.store.chosen import connected
from jobs.errors import nearest, refuse

POLL_SECONDS = 1.0


def logs(
    job: JobId,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print new lines until the job has ended.")
    ] = False,
    level: Annotated[str, typer.Option(help="This level and above: info, warning, error.")] = "",
    shard: Annotated[
        int | None, typer.Option(min=0, max=MAX_ID, help="Only lines of this shard.")
    ] = None,
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", hidden=True)] = False,
) -> None:
    """Print a job's log: lines of its workers and schedulers, dead ones included."""
    if follow:
        remedy = f"Write `headwise logs {job} --watch`."
        raise refuse("--follow", None, "is called --watch, as in `headwise submit`", remedy)
    from jobs.processes.logs import LEVELS

    if level and level not in LEVELS:
        raise refuse("--level", level, "is not a level", nearest(level, LEVELS))
    with connected() as store:
        if watch:
            watch_log(store, job, level=level, shard=shard, as_json=as_json)
            return
        for line in store.log(job, level, shard):
            show(line, as_json)


def watch_log(
    store: Store,
    job_id: int,
    *,
    level: str = "",
    shard: int | None = None,
    as_json: bool = False,
) -> None:
    """Print lines as they come, until the job is final and its last lines are stored."""
    from jobs.processes.logs import SETTLE_SECONDS

    place = ""
    while True:
        # Asked before reading, so that lines stored before the end are all read.
        ended = store.job(job_id)["final"]
        if ended:
            time.sleep(SETTLE_SECONDS + 0.5)
        while True:
            found, place = store.log_after(job_id, level, shard, place)
            for line in found:
                show(line, as_json)
            if not found:
                break
        if ended:
            return
        time.sleep(POLL_SECONDS)


def show(line: Facts, as_json: bool) -> None:
    """Print a line."""
    from jobs.processes.logs import as_text

    if as_json:
        print_json(line)
    else:
        out.print(as_text(line))
