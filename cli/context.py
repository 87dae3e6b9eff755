"""What every command shares: settings, the database, output, and how errors end a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from db.database import Database
from db.upgrades import SchemaState
from jobs.errors import HeadwiseError, UnavailableError, refuse
from jobs.settings import Settings, load_settings

# Texts, tokens and paths are shown as they are: no [markup], no :emoji: codes, no broken lines.
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """Settings and a database that this code can work on."""
    settings = load_settings()
    database = Database(settings.database)
    try:
        if not database.schema_is_current() and not admit(settings, database).fits:
            raise unfit(database)
        yield settings, database
    finally:
        database.close()


def admit(settings: Settings, database: Database) -> SchemaState:
    """Migrate where HEADWISE_MIGRATE allows it; returns how the schema stands then.

    A file has one user, who wants it to work. A server's database may have others: an empty one
    is filled, an older one is left to `headwise migrate`.
    """
    state = database.schema_state()
    alone = database.dialect == "sqlite" or state is SchemaState.EMPTY
    if settings.migrate == "always" or (settings.migrate == "auto" and alone):
        database.migrate()
        return database.schema_state()
    return state


def unfit(database: Database) -> UnavailableError:
    """What to say of a database that this code cannot work on."""
    return UnavailableError(f"The database cannot be used: {database.schema_words()}.")


def make_home(settings: Settings) -> None:
    """Make the data folder. Raises InputError."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}"
        raise refuse("HEADWISE_HOME", str(settings.home), reason, "Choose another.") from None


def print_json(value: object) -> None:
    """Machine-readable output on standard output."""
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")


def fail(error: HeadwiseError) -> int:
    """Report a user's error on one line; returns the exit status."""
    message = " ".join(str(error).split())
    err.print(f"headwise: {message}")
    return 2
