"""Making a backup: in a folder that gets its final name once everything in it is checked."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from db.backup import postgresql, sqlite
from db.backup.manifest import FORMAT, Manifest, Progress, sha256
from db.database import Database
from db.ops import uploads
from db.upgrades import SchemaState
from jobs.errors import ConflictError, UnavailableError, refuse
from jobs.formatting import size
from jobs.settings import Settings

PART = ".part"
"""Ending of the name of a backup that is not complete."""


def back_up(
    database: Database, settings: Settings, to: Path, progress: Progress
) -> tuple[Manifest, list[str]]:
    """Copy the database, and the uploads that jobs refer to, into a new folder, and check the copy.

    Returns its manifest, and the hashes of uploads that are not in this machine's data folder.

    Raises InputError for a folder that is there or cannot be made, ConflictError if another backup
    is being written there, UnavailableError (database, programs, space) and CopyError.
    """
    if to.exists() or to.is_symlink():
        raise refuse("TO", str(to), "exists", "Choose a new folder.")
    if database.dialect == "sqlite" and not sqlite.file_of(database).is_file():
        raise UnavailableError(f"There is no database {sqlite.file_of(database)}.")
    if database.schema_state() is SchemaState.EMPTY:
        raise UnavailableError(f"There is nothing to copy: {database.describe_schema()}.")
    found, missing = _uploads(database, settings)
    with _folder(to) as part:
        _check_space(database, found, part)
        target = part / ("database.sqlite" if database.dialect == "sqlite" else "database.dump")
        schema, tool = "", 0
        if database.dialect == "sqlite":
            content, revision = sqlite.copy(database, target, progress)
        else:
            content, revision, schema, tool = postgresql.copy(database, target, progress)
        for file in found:
            copied = part / "uploads" / file.relative_to(settings.uploads)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
        files = {
            str(file.relative_to(part)): sha256(file, progress)
            for file in sorted(part.rglob("*"))
            if file.is_file()
        }
        manifest = Manifest(
            format=FORMAT,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            release=version("headwise"),
            dialect=database.dialect,
            revision=revision,
            schema=schema,
            tool=tool,
            content=content,
            files=files,
        )
        manifest.write(part)
    return manifest, missing


def _uploads(database: Database, settings: Settings) -> tuple[list[Path], list[str]]:
    """The uploads that jobs refer to: files that are here, and hashes of those that are not."""
    files: list[Path] = []
    missing: list[str] = []
    for digest in sorted(uploads.in_use(database)):
        found = [*settings.uploads.glob(f"{digest}/*"), *settings.uploads.glob(f"{digest}.*")]
        files += [file for file in found if file.is_file()]
        missing += [] if found else [digest]
    return files, missing


@contextmanager
def _folder(to: Path) -> Iterator[Path]:
    """A new folder, which gets its final name at the end, and is removed on any exception.

    What a killed process left there is removed first: its lock is gone with it.
    """
    part = to.with_name(to.name + PART)
    try:
        part.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(part, os.O_RDONLY)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}"
        raise refuse("TO", str(to), reason, "Choose another folder.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in part.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield part
            _sync(part)
            part.rename(to)
        except OSError as error:
            raise UnavailableError(f"The backup {to} cannot be written: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except BlockingIOError:
        raise ConflictError(f"Another backup is being written to {part}.") from None
    finally:
        os.close(lock)


def _sync(folder: Path) -> None:
    """Have the disk write a folder and everything in it."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_space(database: Database, files: list[Path], part: Path) -> None:
    if database.dialect == "sqlite":
        needed = sqlite.file_of(database).stat().st_size
    else:
        needed = postgresql.tables_size(database) // 2  # it is compressed
    needed += sum(file.stat().st_size for file in files)
    free = shutil.disk_usage(part).free
    if free < needed:
        folder = part.parent
        raise UnavailableError(
            f"A backup takes about {size(needed)}, and {folder} has {size(free)} left. "
            "Free space there, or choose another folder."
        )
