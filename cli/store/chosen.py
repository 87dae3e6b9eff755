"""The store that the command line, the environment or a login chooses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cli.store import logins
from cli.store.base import Store

SERVER, TOKEN = "HEADWISE_SERVER", "HEADWISE_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options before the command."""

    server: str | None = None
    local: bool = False


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server, and the token for it."""

    address: str
    token: str | None


choice: ContextVar[Choice | None] = ContextVar("choice", default=None)
"""Set before each command."""


def chosen() -> Server | None:
    """The server to speak to; None for this machine's database. Raises HeadwiseError.

    --local, then --server, then HEADWISE_SERVER, then the current login.
    """
    given = choice.get() or Choice()
    if given.local:
        return None
    if given.server is not None:
        return _server(logins.checked_address("--server", given.server))
    if named := os.environ.get(SERVER):
        return _server(logins.checked_address(SERVER, named))
    current = logins.read().current
    return _server(current) if current else None


def _server(address: str) -> Server:
    """A server with its token: that of the environment, unless it belongs to another server."""
    named = os.environ.get(SERVER, "").strip().rstrip("/")
    token = os.environ.get(TOKEN, "") if named in ("", address) else ""
    token = logins.checked_token(TOKEN, token)
    return Server(address=address, token=token or logins.read().tokens.get(address) or None)


@contextmanager
def connected() -> Iterator[Store]:
    """The store that a command talks to. Raises HeadwiseError."""
    server = chosen()
    if server is None:
        # It brings SQLAlchemy and everything that submits, which a server's client does not need.
        from cli.context import opened
        from cli.store.local import LocalStore

        with opened() as (settings, database):
            yield LocalStore(settings, database)
        return
    from cli.store.remote import RemoteStore

    with closing(RemoteStore(server.address, server.token)) as store, store.translated():
        yield store
