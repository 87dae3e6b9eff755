"""Commands on results and on the installation: sql, export, schema, doctor, backup."""

from __future__ import annotations

import csv
import json
import secrets
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.table import Table

from cli.context import opened, out, print_json
from cli.doctor import examine
from db.console.console import Console, create_console_role
from db.database import Database
from db.ops import backup as copies
from db.results import export as exports
from db.views import schema_page
from db.views.parts import View
from jobs.errors import refuse
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
    suffix = to.suffix if to else ".csv"
    if suffix not in _WRITERS:
        raise refuse("--to", str(to), "is of an unknown format", f"Known: {', '.join(_WRITERS)}.")
    if to and not to.absolute().parent.is_dir():
        raise refuse("--to", str(to), "its folder does not exist", "Create it first.")
    view = exports.exportable(table)
    with opened() as (_, database):
        parts = exports.chunks(database, view, job)
        first = next(parts, None)
        if first is None:
            raise refuse("job", job, f"has no rows in {table}", "`headwise jobs` lists the jobs.")
        if to is None:
            _write_csv(sys.stdout, view, first, parts)
            return
        try:
            _WRITERS[suffix](to, view, first, parts)
        except OSError as error:
            raise refuse(
                "--to", str(to), f"cannot be written: {error}", "Choose another."
            ) from None


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


Part = list[dict[str, Any]]


def _write_csv(file: IO[str], view: View, first: Part, rest: Iterator[Part]) -> None:
    columns = [column.name for column in view.columns]
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(first)
    for part in rest:
        writer.writerows(part)


def _to_csv(path: Path, view: View, first: Part, rest: Iterator[Part]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        _write_csv(file, view, first, rest)


def _to_jsonl(path: Path, _view: View, first: Part, rest: Iterator[Part]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for part in chain([first], rest):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in part)


def _to_parquet(path: Path, view: View, first: Part, rest: Iterator[Part]) -> None:
    # Not guessed from the rows: a column that is empty in the first ones has a type all the same.
    schema = pa.schema([(column.name, _ARROW[column.type]) for column in view.columns])
    with pq.ParquetWriter(path, schema) as writer:
        for part in chain([first], rest):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


_ARROW = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
}
_WRITERS = {".csv": _to_csv, ".jsonl": _to_jsonl, ".parquet": _to_parquet}
