"""Commands on results and on the installation: sql, export, schema, doctor, backup."""

from __future__ import annotations

import secrets
import sys
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.context import opened, out, print_json
from cli.doctor import examine
from db.console.console import Console
from db.console.role import create_console_role
from db.database import Database
from db.ops import backup as copies
from db.results import export as exports
from db.views import schema_page
from jobs.errors import nearest, refuse
from jobs.settings import load_settings, settings_page

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (sql, export, schema):
        app.command(rich_help_panel="Results")(command)
    app.command(rich_help_panel="Installation")(doctor)
    app.command(rich_help_panel="Installation")(backup)


def sql(
    query: Annotated[str, typer.Argument(help="A SELECT on the published views; '-' reads it.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
) -> None:
    """Query the results, read-only. `headwise schema` lists the views."""
    statement = sys.stdin.read() if query == "-" else query
    with opened() as (settings, _):
        console = Console(settings)
        if as_csv:
            for block in console.csv(statement):
                sys.stdout.buffer.write(block)
            return
        result = console.run(statement)
    if as_json:
        print_json([dict(zip(result.columns, row, strict=True)) for row in result.rows])
        return
    table = Table(*result.columns, box=None, pad_edge=False)
    for row in result.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    out.print(table)
    if result.truncated:
        out.print(f"Only the first {len(result.rows):,} rows; --csv gives all of them.")


def export(
    job: Annotated[int, typer.Argument(help="Number of the job.", metavar="JOB")],
    table: Annotated[str, typer.Option(help="Published view to export.")] = "head_importance",
    to: Annotated[Path | None, typer.Option(help="File; .csv, .jsonl or .parquet.")] = None,
) -> None:
    """Write one job's rows of a published view to a file, or as CSV to the terminal."""
    if to is not None:
        _check_target(to)
    view = exports.EXPORTED.get(table)
    if view is None:
        raise refuse("--table", table, "is not a published view", nearest(table, exports.EXPORTED))
    with opened() as (_, database):
        chunks = exports.chunks(database, view, job)
        first = next(chunks, None)
        if first is None:
            raise refuse("JOB", job, f"has no rows in {table}", "`headwise jobs` lists the jobs.")
        rows = chain([first], chunks)
        if to is None:
            sys.stdout.writelines(exports.csv_parts(view, rows))
            return
        try:
            exports.WRITERS[to.suffix](to, view, rows)
        except OSError as error:
            reason = f"cannot be written: {error}"
            raise refuse("--to", str(to), reason, "Choose another file.") from None


def _check_target(to: Path) -> None:
    if to.suffix not in exports.WRITERS:
        known = ", ".join(exports.WRITERS)
        raise refuse("--to", str(to), "is of an unknown format", f"Known: {known}.")
    if not to.absolute().parent.is_dir():
        raise refuse("--to", str(to), "its folder does not exist", "Create it first.")


def schema(
    settings: Annotated[bool, typer.Option("--settings", help="The settings instead.")] = False,
) -> None:
    """Print the published views (or the settings) as Markdown."""
    sys.stdout.write(settings_page() if settings else schema_page())


def doctor(
    as_json: AsJson = False,
    create_console_role_: Annotated[
        bool,
        typer.Option("--create-console-role", help="PostgreSQL: make the SQL console's role."),
    ] = False,
) -> int:
    """Check the installation: settings, folders, database, broker, device, packages."""
    settings = load_settings()
    if create_console_role_:
        url = create_console_role(settings.database, secrets.token_urlsafe(24))
        out.print(f"HEADWISE_CONSOLE_URL={url}")
        return 0
    findings = examine(settings)
    if as_json:
        print_json({"version": version("headwise"), "checks": [f.__dict__ for f in findings]})
    else:
        for finding in findings:
            mark = "[green]ok  [/green]" if finding.ok else "[red]FAIL[/red]"
            out.print(f"{mark} {finding.name}: ", end="", markup=True)
            out.print(finding.detail)
    return 0 if all(finding.ok for finding in findings) else 1


def backup(
    to: Annotated[Path, typer.Option(help="New file to write the copy to.")],
) -> None:
    """Copy an SQLite database while jobs run. Of PostgreSQL, pg_dump makes the copy."""
    # Not migrated first: a copy is what one makes before an upgrade.
    database = Database(load_settings().database)
    try:
        size = copies.backup(database, to)
    finally:
        database.close()
    out.print(f"{to}: {size / 1e6:,.1f} MB")
