"""What every command shares: settings, the database, output, and how errors end a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from db.database import Database
from jobs.errors import HeadwiseError
from jobs.settings import Settings, load_settings

# Texts, tokens and paths are shown as they are: no [markup], no :emoji: codes.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """Settings and a database that is up to date."""
    settings = load_settings()
    database = Database(settings.database)
    try:
        if not database.schema_is_current():
            database.migrate()
        yield settings, database
    finally:
        database.close()


def print_json(value: object) -> None:
    """Machine-readable output on standard output."""
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")


def fail(error: HeadwiseError) -> int:
    """Report a user's error on one line; returns the exit status."""
    message = " ".join(str(error).split())
    err.print(f"headwise: {message}", soft_wrap=True)
    return 2
