"""Submit jobs at given times, by cron expressions."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import out, print_json, print_table
from cli.options import MAX_ID, AsJson, StartOptions, with_groups
from cli.store.base import Facts
from cli.store.chosen import connected
from jobs.formatting import utc

COPIED = ("spec", "name", "priority", "queue")
"""Keys of a job that its copies have, too."""

Number = Annotated[
    int, typer.Argument(help="Number of the recurring job.", metavar="NUMBER", max=MAX_ID)
]

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
@with_groups
def add(
    start: StartOptions,
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
    ],
    zone: Annotated[str, typer.Option(help="Time zone, e.g. Europe/Berlin.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    job: Annotated[int | None, typer.Option(help="Submit a copy of this job.", max=MAX_ID)] = None,
) -> None:
    """Check a submission, which the scheduler submits whenever it is due."""
    from cli.submission import complete, start_from

    with connected() as store:
        if job is None:
            raw = start_from(start.spec, start.preset, store)
        else:
            found = store.job(job)
            raw = {key: found[key] for key in COPIED}
        complete(store, raw, assignments=start.set_)
        added = store.add_recurring({"cron": cron, "zone": zone, "name": name, "submission": raw})
    out.print(f"Recurring job {added['id']} added, first at {utc(added['next_at'])}.")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List recurring jobs, with their next time and the result of the last."""
    with connected() as store:
        found = store.recurring()
    if as_json:
        print_json(found)
        return
    rows = []
    for one in found:
        state = filter(None, ("paused" if one["paused"] else "", one["error"]))
        following = ": ".join(state) or utc(one["next_at"])
        about = (one["id"], one["name"], one["cron"], one["zone"])
        rows.append((*about, following, _last(one)))
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
    with connected() as store:
        store.control_recurring(number, action)
    out.print(f"Recurring job {number} {done}.")


def _last(one: Facts) -> str:
    if not one["runs"]:
        return ""
    run = one["runs"][0]
    if run["error"]:
        return f"not submitted: {run['error']}"
    return f"job {run['job_id']} {run['state'] or 'gone'}"
