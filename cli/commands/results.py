"""Commands that read results: sql, export, schema."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cli.context import opened, out, print_json, print_table
from cli.options import AsJson, JobId
from db.console.console import Console
from db.results import export as exports
from db.views import schema_page
from jobs.errors import nearest, refuse
from jobs.settings import settings_page


def sql(
    query: Annotated[
        str,
        typer.Argument(help="A SELECT on the published views; - reads standard input."),
    ],
    as_json: AsJson = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all rows as CSV; lines end in CR LF.")
    ] = False,
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
    print_table(result.columns, result.rows)
    if result.truncated:
        out.print(f"Only the first {len(result.rows):,} rows; --csv gives all of them.")


def export(
    job: JobId,
    table: Annotated[str, typer.Option(help="Published view to export.")] = "head_importance",
    to: Annotated[Path | None, typer.Option(help="File: .csv, .jsonl or .parquet.")] = None,
) -> None:
    """Write a job's rows of a published view to a file, or print them as CSV.

    CSV is that of RFC 4180: lines end in CR LF.
    """
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
    """Print the published views, or the settings, as Markdown."""
    sys.stdout.write(settings_page() if settings else schema_page())
