"""Tokens, with which programs use the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.audit import note
from cli.context import opened, out, print_json, print_table
from cli.options import MAX_ID, AsJson
from db.accounts import accounts, tokens
from db.accounts.tokens import DEFAULT_DAYS, Scope
from jobs.formatting import utc

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def create(
    user: Annotated[str, typer.Argument(help="Account that the token acts for.", metavar="USER")],
    name: Annotated[str, typer.Option(help="What the token is for.")],
    scope: Annotated[
        Scope, typer.Option(help="read: results and SQL; submit: also jobs; admin: everything.")
    ] = Scope.READ,
    days: Annotated[
        float, typer.Option(help="Days until it expires; 0 is never.", min=0)
    ] = DEFAULT_DAYS,
) -> None:
    """Create a token and print it, this once."""
    with opened() as (_, database):
        account = accounts.get(database, user)
        number, secret = tokens.make(database, account, name, scope, days or None)
        about = {"of": account.folded, "name": name, "scope": scope.value}
        note(database, "create token", f"token {number}", **about)
    out.print(secret)


@app.command("list")
def list_command(
    user: Annotated[str, typer.Option(help="Only those of this account.")] = "",
    as_json: AsJson = False,
) -> None:
    """List tokens, without their secrets."""
    with opened() as (_, database):
        account = accounts.get(database, user) if user else None
        found = tokens.list_tokens(database, account)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            *(one.id, one.account, one.name, f"{one.prefix}…", one.scope.value),
            "expired" if one.expired else utc(one.expires_at),
            utc(one.used_at),
        )
        for one in found
    ]
    titles = ("token", "user", "name", "begins", "scope", "expires", "last used")
    print_table(titles, rows, "No tokens. `headwise token create USER --name NAME` makes one.")


@app.command()
def revoke(
    number: Annotated[
        int, typer.Argument(help="Number of the token.", metavar="NUMBER", max=MAX_ID)
    ],
) -> None:
    """Revoke a token: it is refused from now on."""
    with opened() as (_, database):
        owner = tokens.revoke(database, number)
        note(database, "revoke token", f"token {number}", of=owner)
    out.print(f"Token {number} is revoked.")
