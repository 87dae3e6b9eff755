"""The command that writes the report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.files import form_of, write
from cli.options import MAX_ID
from cli.store.chosen import connected

FORMS = ("html", "pdf")
"""Formats of a report."""


def report(
    study: Annotated[int, typer.Argument(help="Number of the study.", metavar="STUDY", max=MAX_ID)],
    to: Annotated[Path, typer.Option(help="File: .html or .pdf.")],
) -> None:
    """Write a study as one attaches it to a paper: question, method, findings, figures, tables.

    headwise report 7 --to report.pdf
    """
    form = form_of(to, FORMS)
    with connected() as store:
        content = store.report(study, form)
    write(to, [content])
