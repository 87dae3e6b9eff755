"""Consistent copies of an SQLite database while other processes write to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from db.database import Database
from jobs.errors import UnavailableError, refuse


def backup(database: Database, to: Path) -> int:
    """Copy the database to a new file; returns its size in bytes.

    The copy has exactly what was committed when it began. Raises InputError for a database that is
    not a file and for a target that cannot be written.
    """
    if database.dialect != "sqlite":
        remedy = "Use pg_dump, see docs/reliability.md."
        raise refuse("HEADWISE_DATABASE_URL", None, "is PostgreSQL, not a file", remedy)
    source = Path(str(make_url(database.url).database))
    if not source.exists():
        raise UnavailableError(f"There is no database {source}.")
    if to.exists():
        raise refuse("--to", str(to), "exists", "Choose a new file.")
    # Written beside the target and linked at the end: a file of that name is a complete copy.
    part = to.with_name(f"{to.name}.part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(source, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
        os.link(part, to)
        return to.stat().st_size
    except FileExistsError:
        raise refuse("--to", str(to), "exists", "Choose a new file.") from None
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise refuse("--to", str(to), reason, "Choose another.") from None
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"The copy {to} was not made: {error}") from error
    finally:
        part.unlink(missing_ok=True)
