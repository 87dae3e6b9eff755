"""Commands for backups of an installation: backup and restore."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.context import make_home, out
from db.backup import backup as backups
from db.backup import restore as restoring
from db.backup.manifest import Manifest
from db.backup.manifest import Progress as Report
from db.database import Database
from jobs.formatting import counted, size
from jobs.settings import load_settings


def backup(
    to: Annotated[Path, typer.Argument(help="New folder for the backup.", metavar="TO")],
) -> None:
    """Copy the database and uploads to a new folder while jobs run, and check the copy."""
    settings = load_settings()
    # Not migrated first: backups are made before upgrades.
    database = Database(settings.database)
    try:
        with _stoppable(), _progress() as report:
            manifest, missing = backups.back_up(database, settings, to.absolute(), report)
    finally:
        database.close()
    total = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    out.print(f"{to}: {size(total)}, {_content(manifest)}, checked.")
    if missing:
        out.print(
            f"Missing from the backup: {counted(len(missing), 'upload')} that jobs refer to but "
            f"{settings.uploads} does not have: {', '.join(missing)}."
        )


def restore(
    from_: Annotated[Path, typer.Argument(help="Folder of a backup.", metavar="FROM")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a database that is not empty.")
    ] = False,
) -> None:
    """Replace the database with a backup, migrate it, and resume its jobs."""
    settings = load_settings()
    make_home(settings)
    database = Database(settings.database)
    try:
        with _stoppable(), _progress() as report:
            manifest = restoring.restore(database, settings, from_, report, replace=replace)
        out.print(f"Restored {_content(manifest)}, of {manifest.made_at}.")
        out.print(f"The database is ready: {database.describe_schema()}.")
    finally:
        database.close()


def _content(manifest: Manifest) -> str:
    found = manifest.content
    uploads = sum(path.startswith("uploads/") for path in manifest.files)
    return (
        f"{counted(sum(found.rows.values()), 'row')} in {counted(len(found.rows), 'table')}, "
        f"results of {counted(len(found.results), 'job')}, {counted(uploads, 'upload')}"
    )


@contextmanager
def _stoppable() -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C: what is half done is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress() -> Iterator[Report]:
    """Show the step of the work and its bytes on a terminal."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as shown:
        task = shown.add_task("")

        def report(step: str, done: int) -> None:
            shown.update(task, description=f"{step}: {size(done)}" if done else step)

        yield report
