"""Settings, the database and output for every command, and the end of one that fails.

A command that talks to a server needs neither settings nor a database: they are imported where
they are used.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console

from jobs.errors import HeadwiseError, UnavailableError, refuse

if TYPE_CHECKING:
    from db.database import Database
    from db.upgrades import SchemaState
    from jobs.settings import Settings

# Texts, tokens and paths are printed unchanged: no [markup], no :emoji: codes, no wrapping.
_console = partial(Console, soft_wrap=True, highlight=False, markup=False, emoji=False)
out = _console()
err = _console(stderr=True)
PIPE_WIDTH = 10_000
"""Characters of a table's line where no window limits it."""


def user() -> str:
    """The name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """Open the database, and yield it with the settings. Raises UnavailableError."""
    from db.database import Database
    from jobs.settings import load_settings

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
    from db.upgrades import SchemaState

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


def print_table(
    titles: Iterable[str],
    rows: Sequence[Sequence[object]],
    none: str = "",
    *,
    optional: Sequence[str] = (),
    broken: Sequence[str] | None = None,
) -> None:
    """Print rows as columns with titles; None is an empty cell. Without rows, print `none`.

    Where the window is too narrow, columns of `optional` are left out, the first of them first,
    and then lines are broken in the columns of `broken` (by default in all). A pipe has no width.
    """
    from rich.table import Table

    if none and not rows:
        out.print(none)
        return
    windowed = out.is_terminal or "COLUMNS" in os.environ
    console = _console(width=None if windowed else PIPE_WIDTH)
    columns = [
        (title, *("" if row[place] is None else str(row[place]) for row in rows))
        for place, title in enumerate(titles)
    ]
    for left_out in optional:
        if _natural_width(columns) > console.width:
            columns = [column for column in columns if column[0] != left_out]
    table = Table(box=None, pad_edge=False)
    for title, *_ in columns:
        table.add_column(title, no_wrap=broken is not None and title not in broken)
    for cells in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*cells)
    console.print(table)


def _natural_width(columns: Sequence[Sequence[str]]) -> int:
    """Characters of the longest line of a table that breaks none, with a space between columns."""
    return sum(max(map(cell_len, column)) for column in columns) + len(columns) - 1


def fail(error: HeadwiseError) -> int:
    """Report an error on one line; returns the exit status."""
    import structlog

    from jobs.processes.logs import logs_are_captured

    message = " ".join(str(error).split())
    if logs_are_captured():
        structlog.get_logger().error(message)
        return 2
    err.print(f"headwise: {message}")
    return 2
