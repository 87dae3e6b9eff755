"""The command that compares jobs or studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands.figures import assigned
from cli.context import out, print_json, print_table
from cli.files import form_of, write
from cli.options import MAX_ID, AsJson, Assignments
from cli.store.chosen import connected
from headwise.figures import FORMS
from jobs.errors import refuse
from jobs.formatting import MISSING, number, percent


def compare(
    numbers: Annotated[
        list[int],
        typer.Argument(help="Two to eight jobs, or two studies.", metavar="NUMBER...", max=MAX_ID),
    ],
    studies: Annotated[
        bool, typer.Option("--studies", help="The numbers are those of two studies.")
    ] = False,
    kind: Annotated[str | None, typer.Option(help="Name of a figure.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="File: .svg, .png, .pdf, .csv or .json (Vega-Lite).")
    ] = None,
    choices: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Compare jobs or studies: what differs, accuracy; with --kind and --to write a figure.

    headwise compare 5 42 --kind heads --to heads.pdf --set source=attattr
    headwise compare --studies 1 2
    """
    if studies and len(numbers) != 2:
        raise refuse("NUMBER", " ".join(map(str, numbers)), "must be two studies", "Give two.")
    noun = "study" if studies else "job"
    given = dict(map(assigned, choices or ()))
    if kind is not None and to is not None:
        form = form_of(to, FORMS)
        with connected() as store:
            content = store.compared_figure(numbers, kind, form, given, studies=studies)
        write(to, [content])
        return
    with connected() as store:
        found = store.compare(numbers, studies=studies)
    if as_json:
        print_json(found)
        return
    for sentence in found["warnings"]:
        out.print(f"Warning: {sentence}")
    for study, steps in found.get("findings", {}).items():
        for sentence in (one for sentences in steps.values() for one in sentences):
            out.print(f"Study {study}: {sentence}")
    heads = [f"{noun.upper()} {side[noun]}" for side in found["sides"]]
    rows = [*_facts(found["sides"]), *_differences(found["differences"])]
    print_table(("", *heads), rows, "")
    print_table(
        ("RANKING", "OTHER", "SPEARMAN"),
        [(one["one"], one["other"], number(one["spearman"])) for one in found["agreements"]],
        "They have no ranking of the same heads.",
    )
    out.print(f"Figures (--kind): {', '.join(one['name'] for one in found['figures'])}")


def _facts(sides: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Model, data and numbers of every side, a row each."""

    def interval(side: dict[str, Any]) -> str:
        if side["accuracy"] is None:
            return MISSING
        ends = [percent(side[name]) for name in ("accuracy_low", "accuracy_high")]
        return f"{percent(side['accuracy'])} ({' to '.join(ends)})"

    return [
        ("model", *(", ".join(side["models"]) for side in sides)),
        ("data", *(", ".join(side["data"]) for side in sides)),
        ("accuracy (95 %)", *map(interval, sides)),
        ("largest residual", *(number(side["residual_worst"]) for side in sides)),
    ]


def _differences(found: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(one["field"], *one["values"]) for one in found]
