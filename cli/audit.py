"""The audit log's entries of what is done on the command line of this machine."""

from __future__ import annotations

from cli.context import err, user
from db.accounts import audit
from db.accounts.audit import Event
from db.database import Database
from jobs.errors import UnavailableError
from jobs.people import fold

PLACE = "command line"
"""Stands where requests have their address."""


def note(database: Database, action: str, about: str = "", **detail: object) -> None:
    """Write what was done; a database that stores nothing does not undo it."""
    event = Event(user=fold(user()), address=PLACE, action=action, object=about, detail=detail)
    try:
        audit.write(database, event)
    except UnavailableError as error:
        err.print(f"headwise: not in the audit log: {error}")
