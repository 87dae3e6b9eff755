"""Accounts: who may sign in on the dashboard."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.audit import note
from cli.context import opened, out, print_json, print_table
from cli.options import AsJson
from db.accounts import accounts, links
from db.accounts.accounts import Account
from db.database import Database
from jobs.errors import ConflictError, refuse
from jobs.formatting import utc
from jobs.people import Role
from jobs.settings import Settings

Name = Annotated[str, typer.Argument(help="Name of the account.", metavar="NAME")]

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def add(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Make them an administrator.")] = False,
    role: Annotated[
        Role, typer.Option(help="What they may do: viewer, member or admin.")
    ] = Role.MEMBER,
    password: Annotated[
        bool,
        typer.Option("--password", help="Ask for a password, or read it from standard input."),
    ] = False,
) -> None:
    """Add an account; prints a one-time link with which they choose a password."""
    with opened() as (settings, database):
        given = _password() if password else ""
        account = accounts.add(database, name, Role.ADMIN if admin else role)
        _noted(database, "add account", account, role=account.role.value)
        if given:
            try:
                accounts.set_password(database, account, given)
            except BaseException:
                accounts.remove(database, account)
                raise
        out.print(f"Account {account.name} added, as {account.role.value}.")
        if not given and _may_have_password(settings):
            _print_link(settings, database, account)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List accounts."""
    with opened() as (_, database):
        found = accounts.list_accounts(database)
    if as_json:
        print_json([account_json(one) for one in found])
        return
    rows = [
        (
            one.name,
            one.role.value,
            "disabled" if one.disabled else "password" if one.password else "no password",
            utc(one.created_at),
            utc(one.signed_in_at),
        )
        for one in found
    ]
    none = "No accounts yet. `headwise user add NAME --admin` adds the first."
    print_table(("name", "role", "sign-in", "added", "last sign-in"), rows, none)


@app.command()
def role(
    name: Name, role: Annotated[Role, typer.Argument(help="viewer, member or admin.")]
) -> None:
    """Change what somebody may do; it holds from their next request on."""
    with opened() as (_, database):
        account = accounts.get(database, name)
        accounts.set_role(database, account, role)
        _noted(database, "role account", account, role=role.value)
    out.print(f"{account.name} is {'an' if role is Role.ADMIN else 'a'} {role.value} now.")


@app.command()
def disable(name: Name) -> None:
    """Disable an account: end its sessions and refuse its tokens.

    Their recurring jobs are paused.
    """
    _set_disabled(name, True)
    out.print(f"{name} cannot sign in any more; `headwise user enable` undoes it.")


@app.command()
def enable(name: Name) -> None:
    """Enable a disabled account."""
    _set_disabled(name, False)
    out.print(f"{name} can sign in again.")


@app.command()
def reset(
    name: Name,
    password: Annotated[
        bool,
        typer.Option("--password", help="Ask for a password, or read it from standard input."),
    ] = False,
) -> None:
    """Print a one-time link with which somebody chooses a new password; their sessions end."""
    with opened() as (settings, database):
        account = accounts.get(database, name)
        if account.disabled:
            raise ConflictError(f"{account.name} is disabled: `headwise user enable` first.")
        if not _may_have_password(settings):
            raise ConflictError(
                f"HEADWISE_AUTH is {settings.auth}: accounts have no passwords here."
            )
        _noted(database, "reset account", account)
        if password:
            accounts.set_password(database, account, _password())
            out.print(f"{account.name} has the new password.")
        else:
            _print_link(settings, database, account)


@app.command()
def remove(name: Name) -> None:
    """Remove an account with its sessions and tokens.

    Its jobs stay and keep running; its recurring jobs stay and are paused.
    """
    with opened() as (_, database):
        account = accounts.get(database, name)
        paused = accounts.remove(database, account)
        _noted(database, "remove account", account, **_told_paused(paused))
    out.print(f"{account.name} removed.")


@app.command()
def unlink(name: Name) -> None:
    """Unlink an account from the identity provider; the sessions that came from there end."""
    with opened() as (_, database):
        account = accounts.get(database, name)
        accounts.unlink(database, account)
        _noted(database, "unlink account", account)
    out.print(f"{account.name} is unlinked.")


def account_json(account: Account) -> dict[str, object]:
    """An account as JSON, without the hash of its password."""
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role.value,
        "disabled": account.disabled,
        "has_password": account.password is not None,
        "created_at": account.created_at,
        "signed_in_at": account.signed_in_at,
    }


def _may_have_password(settings: Settings) -> bool:
    """False where people come in by other ways alone; before it is said how, they may."""
    return not settings.ways or "password" in settings.ways


def _set_disabled(name: str, disabled: bool) -> None:
    with opened() as (_, database):
        account = accounts.get(database, name)
        paused = accounts.set_disabled(database, account, disabled)
        action = "disable account" if disabled else "enable account"
        _noted(database, action, account, **_told_paused(paused))


def _told_paused(recurring: list[int]) -> dict[str, object]:
    """The detail of an entry about recurring jobs that were paused, after saying so."""
    if not recurring:
        return {}
    numbers = ", ".join(map(str, recurring))
    out.print(f"Paused recurring jobs: {numbers}. Resume one with `headwise recurring resume`.")
    return {"paused_recurring": recurring}


def _password() -> str:
    """A password, typed twice on a terminal, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Once more"))
    given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise refuse("password", None, "is missing on standard input", "Write it as one line.")
    return given


def _print_link(settings: Settings, database: Database, account: Account) -> None:
    secret = links.make(database, account)
    out.print(f"Hand over this link; it works once, within {links.HOURS} hours:")
    out.print(f"  {settings.address}/welcome/{secret}")


def _noted(database: Database, action: str, account: Account, **detail: object) -> None:
    note(database, action, f"account {account.folded}", **detail)
