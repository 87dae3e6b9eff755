"""Commands that read results: sql, export, schema."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cli.context import out, print_json, print_table
from cli.files import form_of, write, writing
from cli.options import AsJson, JobId
from cli.store.chosen import connected
from jobs.errors import nearest, refuse


def sql(
    query: Annotated[
        str,
        typer.Argument(help="A SELECT on the published views; - reads standard input."),
    ],
    as_json: AsJson = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print all rows as CSV; lines end in CR LF.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="File for all rows: .csv, .json or .parquet.")
    ] = None,
    explain: Annotated[
        bool, typer.Option(help="Print the database's plan for the query instead of running it.")
    ] = False,
) -> None:
    """Query the results, read-only. `headwise schema` lists the views."""
    forms = {"--explain": explain, "--to": to is not None, "--csv": as_csv, "--json": as_json}
    one, *others = [name for name, given in forms.items() if given] or [""]
    if others:
        raise refuse(others[0], None, f"cannot be combined with {one}", "Give one of the two.")
    statement = sys.stdin.read() if query == "-" else query
    if explain:
        with connected() as store:
            sys.stdout.write(f"{store.sql_plan(statement)}\n")
        return
    if to is not None:
        from db.console.formats import DOWNLOADS

        form = form_of(to, DOWNLOADS)
    with connected() as store:
        if to is not None:
            write(to, store.sql_file(statement, form))
            return
        if as_csv:
            for block in store.sql_file(statement, "csv"):
                sys.stdout.buffer.write(block)
            return
        found = store.sql(statement)
    columns, rows = found["columns"], found["rows"]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_table(columns, rows)
    if found["cut_by"]:
        out.print(f"Only the first {len(rows):,} rows; --to FILE or --csv gives all of them.")


def export(
    job: JobId,
    table: Annotated[str, typer.Option(help="Published view to export.")] = "head_importance",
    to: Annotated[Path | None, typer.Option(help="File: .csv, .jsonl or .parquet.")] = None,
) -> None:
    """Write a job's rows of a published view to a file, or print them as CSV.

    CSV is that of RFC 4180: lines end in CR LF.
    """
    from db.results import export as exports

    if to is not None:
        form = form_of(to, exports.WRITERS)
    view = exports.EXPORTED.get(table)
    if view is None:
        reason = "is not a published view with rows per job"
        raise refuse("--table", table, reason, nearest(table, exports.EXPORTED))
    with connected() as store:
        chunks = store.table(job, table)
        first = next(chunks, None)
        if first is None:
            raise refuse("JOB", job, f"has no rows in {table}", "`headwise jobs` lists the jobs.")
        rows = chain([first], chunks)
        if to is None:
            sys.stdout.writelines(exports.csv_parts(view, rows))
            return
        with writing(to) as part:
            exports.WRITERS[form](part, view, rows)


def schema(
    settings: Annotated[bool, typer.Option("--settings", help="The settings instead.")] = False,
    api: Annotated[bool, typer.Option("--api", help="The API's OpenAPI document instead.")] = False,
) -> None:
    """Print the published views, or the settings, as Markdown; or the API's document."""
    from db.views import schema_page
    from jobs.settings import load_settings, settings_page

    if api:
        # Both bring Flask and every view.
        from webui.app import create_app
        from webui.contract.document import as_text

        sys.stdout.write(as_text(create_app(load_settings({}))))
    else:
        sys.stdout.write(settings_page() if settings else schema_page())
