"""The command that writes figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.context import out, print_table
from cli.files import form_of, write
from cli.options import MAX_ID, Assignments, JobId
from cli.progress import watch as show_progress
from cli.store.chosen import connected
from headwise.figures import FORMS
from headwise.naming import read_head_name
from jobs.errors import HeadwiseError, refuse


def figure(
    job: JobId,
    kind: Annotated[str | None, typer.Option(help="Name of the figure.")] = None,
    to: Annotated[Path | None, typer.Option(help="File: .svg, .png, .pdf, .csv or .json.")] = None,
    example: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_ID, help="Number of an example: words, arcs, tree."),
    ] = None,
    choices: Assignments = None,
) -> None:
    """Write a figure of a job or of one example to a file; without --kind and --to, list them.

    headwise figure 5 --kind heads --to heads.pdf --set measure=mean_total

    headwise figure 5 --example 3 --kind tree --to tree.svg --set root=classifier
    """
    given = dict(map(assigned, choices or ()))
    if kind is None or to is None:
        _list_figures(job, example)
        return
    form = form_of(to, FORMS)
    with connected() as store:
        content = store.figure(job, kind, form, given, example)
    write(to, [content])


def matrix(
    job: JobId,
    example: Annotated[int | None, typer.Option(min=0, max=MAX_ID, help="Its number.")] = None,
    head: Annotated[str | None, typer.Option(help='Name of the head: "L3 H7".')] = None,
    to: Annotated[Path | None, typer.Option(help="File: .svg, .png, .pdf, .csv or .json.")] = None,
    watch: Annotated[bool, typer.Option(help="Wait for the job that computes it.")] = True,
) -> int:
    """Write a head's whole attention beside its attribution on an example; list those stored.

    Where they are not stored, a quick job computes them, ahead of all other work.

    headwise matrix 5 --example 3 --head "L3 H7" --to matrix.pdf
    """
    if example is None and head is None and to is None:
        _list_matrices(job)
        return 0
    if example is None or head is None or to is None:
        given = {"--example": example, "--head": head, "--to": to}
        missing = next(name for name, one in given.items() if one is None)
        remedy = "Give --example, --head and --to, or none of them to list the stored matrices."
        raise refuse(missing, None, "is missing", remedy)
    place = read_head_name(head)
    if place is None:
        raise refuse("--head", head, "is not the name of a head", 'Write "L3 H7" or "cross L3 H7".')
    form = form_of(to, FORMS)
    with connected() as store:
        found = store.matrix(job, example, place)
        if found["state"] in ("absent", "failed"):
            found = store.compute_matrix(job, example, place)
        if found["state"] == "computing" and watch:
            show_progress(store, {f"job {found['job']}": found["job"]})
            found = store.matrix(job, example, place)
        if found["state"] == "computing":
            out.print(
                f"Job {found['job']} is computing it; give the same command again when it has "
                "finished."
            )
            return 0
        if found["state"] != "stored":
            reason = found["message"] or "it was deleted while it was being computed"
            raise HeadwiseError(f"{found['head']} on example {example}: {reason}")
        choices = {"example": str(example), "head": found["head"]}
        write(to, [store.figure(job, "matrix", form, choices, None)])
    return 0


def _list_matrices(job: int) -> None:
    with connected() as store:
        found = store.matrices(job)
    rows = [(one["example"], one["name"]) for one in found]
    none = 'None is stored: headwise matrix JOB --example 3 --head "L3 H7" --to matrix.pdf'
    print_table(("EXAMPLE", "HEAD"), rows, none)


def assigned(given: str) -> tuple[str, str]:
    """The choice and the value of `KEY=VALUE`. Raises InputError for anything else."""
    name, equals, value = given.partition("=")
    if not equals:
        raise refuse("--set", given, "is not an assignment", "Write KEY=VALUE.")
    return name, value


def _list_figures(job: int, example: int | None) -> None:
    with connected() as store:
        found = store.figures(job, example)
    rows = [
        (one["name"], one["title"], name, ", ".join(value["value"] for value in values))
        for one in found
        for name, values in (one["choices"] or {"": []}).items()
    ]
    print_table(("FIGURE", "TITLE", "--set", "VALUES"), rows, "There are no figures.")
