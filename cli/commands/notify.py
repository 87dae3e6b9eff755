"""Tell people when jobs end, and operators of faults."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import out, print_json, print_table
from cli.options import AsJson
from cli.store.base import Facts, Store
from cli.store.chosen import connected
from jobs.errors import nearest, refuse
from jobs.formatting import utc
from jobs.notifications import WORDS, JobEvents, told_of
from jobs.people import fold

Name = Annotated[str, typer.Argument(help="Name of the recipient.", metavar="NAME")]
User = Annotated[
    str,
    typer.Option(help="Only told of the jobs of this user; a server knows whose its token is."),
]

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def add(
    name: Name,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="ann@example.org, https://… (a signed webhook), or an Apprise address: "
            "slack://…, ntfy://…, workflows://….",
        ),
    ],
    jobs: Annotated[
        JobEvents, typer.Option(help="all, long (over ten minutes), failed, or asked.")
    ] = JobEvents.ALL,
    conditions: Annotated[
        bool, typer.Option("--conditions", help="Also told of dead workers, full disks and such.")
    ] = False,
    user: User = "",
) -> None:
    """Add a recipient, and send it a test."""
    given = {"name": name, "address": address, "jobs": jobs.value, "conditions": conditions}
    with connected() as store:
        _check_user(store, user)
        added = store.add_recipient(given, user)
    out.print(
        f"{added['service']} {added['shown']} will be notified of {WORDS[jobs]}. "
        "A test is on its way."
    )
    if added["secret"]:
        out.print(f"Its receiver checks signatures with {added['secret']}")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List recipients."""
    with connected() as store:
        found = store.recipients()
    if as_json:
        print_json(found)
        return
    titles = ("name", "service", "address", "told of", "jobs of")
    rows = [
        (
            one["name"],
            one["service"],
            one["shown"],
            told_of(JobEvents(one["jobs"]), one["conditions"]),
            one["user"] or "everyone",
        )
        for one in found
    ]
    none = "No recipients yet. `headwise notify add --help` says how to add one."
    print_table(titles, rows, none)


@app.command()
def log(as_json: AsJson = False) -> None:
    """List the last notifications and what became of them."""
    with connected() as store:
        found = store.notifications()
    if as_json:
        print_json(found)
        return
    titles = ("recipient", "about", "state", "tries", "written", "error")
    rows = [
        (
            *(one["recipient"], one["event"], one["state"], one["tries"]),
            *(utc(one["created_at"]), one["error"]),
        )
        for one in found
    ]
    print_table(titles, rows, "No notifications yet.")


@app.command("test")
def send_test(name: Name, user: User = "") -> None:
    """Send a test to a recipient."""
    with connected() as store:
        store.test_recipient(_find(store, name, user))
    out.print("A test is on its way; `headwise notify log` says what became of it.")


@app.command()
def remove(name: Name, user: User = "") -> None:
    """Remove a recipient and its pending notifications."""
    with connected() as store:
        store.remove_recipient(_find(store, name, user))
    out.print(f"{name} is removed.")


def _find(store: Store, name: str, user: str) -> int:
    """The number of a recipient. Raises InputError."""
    _check_user(store, user)
    known = {one["name"]: one for one in store.recipients() if _is_of(store, one, user)}
    if name not in known:
        remedy = nearest(name, known) if known else "`headwise notify list` lists them."
        raise refuse("NAME", name, "is not a recipient", remedy)
    return int(known[name]["id"])


def _is_of(store: Store, one: Facts, user: str) -> bool:
    return store.address is not None or one["user"] == fold(user)


def _check_user(store: Store, user: str) -> None:
    """Raise InputError where a user is given to a server, which knows whose the token is."""
    if store.address is not None and user:
        message = f"is not for {store.address}: recipients there belong to the owner of the token"
        raise refuse("--user", user, message, "Leave it out.")
