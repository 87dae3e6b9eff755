"""Restoring a backup: all of it and as it was, or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect

from db.backup import sqlite
from db.backup.manifest import Manifest, Progress, quoted, read
from db.backup.postgresql_restore import load
from db.console.postgresql.grants import grant_views
from db.database import Database
from db.queue import claims
from db.upgrades import code_revision, known_revisions
from jobs.errors import ConflictError, UnavailableError, refuse
from jobs.formatting import size
from jobs.settings import Settings

SILENT_SECONDS = 60.0
"""A process that has been silent for this long does not prevent a restore."""
_PROCESSES = ("worker", "scheduler")
_ALIVE = "SELECT name FROM {table} WHERE state <> 'stopped' AND seen_at > {clock} - :silent"
_STOPPED = "UPDATE {table} SET state = 'stopped'"
_FIRST = "SELECT 1 FROM {table} LIMIT 1"
_INSTALLED = frozenset(("alembic_version", "published", *_PROCESSES))
"""Tables with rows in a new database, too, or where processes waited for this one."""
REASON = "its worker was not restored with the database"


def restore(
    database: Database, settings: Settings, folder: Path, progress: Progress, *, replace: bool
) -> Manifest:
    """Put a backup in the place of the database, migrate it, and end the leases in it.

    replace: overwrite a database that is not empty

    Nothing changes unless the whole backup can be restored and what was restored is what the
    manifest says. Raises InputError (no backup, of another database system, or newer),
    ConflictError (processes run, or the database is not empty), CopyError and UnavailableError.
    """
    manifest = read(folder)
    _check_fits(manifest, database, folder)
    _check_free(database, replace=replace)
    manifest.check_files(folder, progress)
    if database.dialect == "sqlite":
        _restore_file(database, folder / manifest.database, manifest, progress)
    else:
        load(database, folder / manifest.database, manifest, progress)
        _resume(database)
    _copy_uploads(folder, manifest, settings)
    return manifest


def _check_fits(manifest: Manifest, database: Database, folder: Path) -> None:
    if manifest.dialect != database.dialect:
        reason = f"is of {manifest.dialect}, and HEADWISE_DATABASE_URL of {database.dialect}"
        raise refuse("FROM", str(folder), reason, "Name a database of the same system.")
    if manifest.revision not in known_revisions():
        reason = f"has a newer schema ({manifest.revision}) than this release ({code_revision()})"
        raise refuse("FROM", str(folder), reason, f"Use release {manifest.release} or a newer one.")


def _check_free(database: Database, *, replace: bool) -> None:
    """Raise ConflictError while processes use the database, or if it holds anything."""
    if database.dialect == "sqlite" and not sqlite.file_of(database).exists():
        return
    with database.read() as tx:
        tables = set(inspect(tx.connection).get_table_names())
        alive = [
            f"{table} {name}"
            for table in _PROCESSES
            if table in tables
            for name in tx.run(_ALIVE.replace("{table}", table), silent=SILENT_SECONDS).scalars()
        ]
        if alive:
            raise ConflictError(
                f"Processes use the database: {', '.join(alive)}. Stop all of Headwise first; one "
                f"that was killed counts for another {SILENT_SECONDS:.0f} s."
            )
        filled = [
            name
            for name in sorted(tables - _INSTALLED)
            if not replace and tx.run_as_is(_FIRST.format(table=quoted(name))).first()
        ]
    if filled:
        raise ConflictError(
            f"The database is not empty: there are rows in {', '.join(filled[:5])}"
            f"{', …' if len(filled) > 5 else ''}. --replace overwrites everything in it."
        )


def _restore_file(database: Database, copy: Path, manifest: Manifest, progress: Progress) -> None:
    """Prepare the file beside the database, then put it in its place."""
    target = sqlite.file_of(database)
    part = target.with_name(f"{target.name}.restoring")
    free, needed = shutil.disk_usage(target.parent).free, copy.stat().st_size
    if free < needed:
        raise UnavailableError(
            f"The database takes {size(needed)}, and {target.parent} has {size(free)} left."
        )
    try:
        _remove_file(part)
        progress("restoring the database", 0)
        shutil.copyfile(copy, part)
        manifest.content.compare(sqlite.examine(part))
        prepared = Database(f"sqlite:///{part}")
        try:
            _resume(prepared)
        finally:
            prepared.close()
        database.close()
        if target.exists():
            _empty_log(target)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise UnavailableError(f"The database {target} cannot be written: {error}") from error
    finally:
        _remove_file(part)


def _empty_log(file: Path) -> None:
    """Write the write-ahead log back, so that the file is whole without it, and remove it."""
    with closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection:
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.DatabaseError:
            busy = 0  # a damaged file: it is being replaced
    if busy:
        raise ConflictError(f"A process uses {file}. Stop all of Headwise first.")
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def _remove_file(file: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def _resume(database: Database) -> None:
    """Migrate a restored database, and return the shards that were being computed."""
    database.migrate(force=True)  # no process is alive
    with database.write() as tx:
        for table in _PROCESSES:
            tx.run(_STOPPED.replace("{table}", table))
        if tx.dialect == "postgresql":
            grant_views(tx)
    claims.hand_back_all(database, REASON)


def _copy_uploads(folder: Path, manifest: Manifest, settings: Settings) -> None:
    """Copy uploads to the data folder; they get the present time, as if they were just made."""
    for path in manifest.files:
        if path.startswith("uploads/"):
            target = settings.uploads / Path(path).relative_to("uploads")
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(folder / path, part)
            part.replace(target)
