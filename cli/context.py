"""Settings, the database and output for every command, and the end of one that fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from db.database import Database
from db.upgrades import SchemaState
from jobs.errors import HeadwiseError, UnavailableError, refuse
from jobs.settings import Settings, load_settings

# Texts, tokens and paths are printed unchanged: no [markup], no :emoji: codes, no wrapping.
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """Open the database, and yield it with the settings. Raises UnavailableError."""
    settings = load_settings()
    database = Database(settings.database)
    try:
        if not database.schema_is_current() and not admit(settings, database).fits:
            raise unfit(database)
        yield settings, database
    finally:
        database.close()


def admit(settings: Settings, database: Database) -> SchemaState:
    """Migrate if HEADWISE_MIGRATE allows it; returns the state of the schema afterwards.

    An SQLite file has one user, so it is migrated. A server may be shared: an empty database is
    filled, an older one is left to `headwise migrate`.
    """
    state = database.schema_state()
    alone = database.dialect == "sqlite" or state is SchemaState.EMPTY
    if settings.migrate == "always" or (settings.migrate == "auto" and alone):
        database.migrate()
        return database.schema_state()
    return state


def unfit(database: Database) -> UnavailableError:
    """The error for a database whose schema does not fit this release."""
    return UnavailableError(f"The database cannot be used: {database.describe_schema()}.")


def make_home(settings: Settings) -> None:
    """Create the data folder. Raises InputError."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}"
        raise refuse("HEADWISE_HOME", str(settings.home), reason, "Choose another.") from None


def print_json(value: object) -> None:
    """Print JSON on standard output."""
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")


def print_table(titles: Iterable[str], rows: Sequence[Sequence[object]], none: str = "") -> None:
    """Print rows as columns with titles; None is an empty cell. Without rows, print `none`."""
    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    out.print(table if rows or not none else none)


def fail(error: HeadwiseError) -> int:
    """Report an error on one line; returns the exit status."""
    message = " ".join(str(error).split())
    err.print(f"headwise: {message}")
    return 2
