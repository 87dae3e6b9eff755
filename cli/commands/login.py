"""Commands about the server that commands speak to: login, logout, whoami."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from cli.context import out, print_json, user
from cli.options import AsJson
from cli.store import logins
from cli.store.chosen import TOKEN, chosen
from jobs.errors import SignInError, refuse
from jobs.formatting import utc
from jobs.people import fold

Address = Annotated[
    str, typer.Argument(help="Address of the dashboard: https://headwise.example.org.")
]


def login(
    url: Address,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from standard input.")
    ] = False,
) -> None:
    """Have the commands of Jobs and Results work on a server; asks for a token.

    The token is kept in a file that only you may read. A known server needs none.
    """
    address, known = logins.checked_address("URL", url), logins.read()
    token = "" if token_stdin else known.tokens.get(address, "")
    try:
        if token_stdin:
            raise SignInError
        account = _account(address, token)
    except SignInError:
        token = _read_token(address, token_stdin)
        account = _account(address, token)
    if account["scope"] is None:
        token = ""  # nobody signs in there: it is of no use
    logins.write(known.added(address, token))
    out.print(f"{_words(address, account)}.")
    out.print("The Jobs and Results commands now use this server; `headwise logout` ends that.")
    if token and address.startswith("http://") and not _is_this_machine(address):
        out.print("Note: without https, anyone on the network path can read the token.")


def logout(
    url: Annotated[str, typer.Argument(help="Address. Default: the current server.")] = "",
) -> None:
    """Forget a server and its token; commands work on this machine's database again."""
    known = logins.read()
    address = logins.checked_address("URL", url) if url else known.current
    if address is None or address not in known.tokens:
        listed = f"You are logged in to {', '.join(known.tokens)}." if known.tokens else ""
        message = "is not a server that you are logged in to" if url else "you are not logged in"
        raise refuse("URL", url or None, message, listed)
    logins.write(known.without(address))
    out.print(f"Logged out of {address}.")
    if known.tokens[address]:
        out.print("Its token is forgotten here, and valid until it expires or is revoked there.")


def whoami(as_json: AsJson = False) -> None:
    """Say which server commands speak to, as whom, and what the token may do."""
    server = chosen()
    account = _account(server.address, server.token or "") if server else None
    if as_json:
        print_json({"server": server and server.address, **(account or _here())})
    elif server is None or account is None:
        out.print(f"This machine's database, as {_here()['name']}.")
    else:
        out.print(f"{_words(server.address, account)}.")
    others = [one for one in logins.read().tokens if server is None or one != server.address]
    if others and not as_json:
        out.print(f"Also logged in to {', '.join(others)}: `headwise login URL` goes there.")


def _account(address: str, token: str) -> dict[str, Any]:
    """The person and the rights of a token. Raises SignInError where it is not valid, or needed."""
    from cli.store.remote import RemoteStore

    with closing(RemoteStore(address, token or None)) as store, store.translated():
        return store.account()


def _here() -> dict[str, Any]:
    name = user()
    return {"name": name, "user": fold(name), "role": None, "scope": None, "expires_at": None}


def _words(address: str, account: Mapping[str, Any]) -> str:
    if account["scope"] is None:
        return f"{address}: sign-in is not required; you are {account['name']}"
    end = account["expires_at"]
    until = "that does not expire" if end is None else f"until {utc(end)}"
    return (
        f"{address}: {account['name']}, with the rights of a {account['role']}, by a token with "
        f"the scope {account['scope']} {until}"
    )


def _read_token(address: str, from_stdin: bool) -> str:
    """A token, typed without echo or from standard input. Raises InputError."""
    if from_stdin:
        token = sys.stdin.readline().strip()
    elif sys.stdin.isatty():
        out.print(f"Make a token on your account's page: {address}/account")
        token = str(typer.prompt("Token", hide_input=True)).strip()
    else:
        remedy = f"Use --token-stdin, or the variable {TOKEN} without a login."
        raise refuse("token", None, "is asked for on a terminal", remedy)
    if not token:
        raise refuse("token", None, "is missing on standard input", "Write it as one line.")
    return logins.checked_token("token", token)


def _is_this_machine(address: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
