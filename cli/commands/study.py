"""The command that runs a whole study: submit it, show its progress, print its findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from cli.context import out, print_json, print_table
from cli.options import (
    AsJson,
    Assignments,
    CheckOnly,
    KeyOptions,
    Queue,
    SourceOptions,
    with_groups,
)
from cli.progress import watch as watch_jobs
from cli.store.base import Facts, Store
from cli.store.chosen import connected
from jobs.formatting import duration


@dataclass(frozen=True, kw_only=True)
class StudyOptions(KeyOptions):
    """The parts of a study, and their sizes."""

    panel = "Study"
    keys: ClassVar[Mapping[str, str]] = {"evaluation": "evaluation.path"}

    examples: Annotated[
        int | None,
        typer.Option(help="First rows: to rank heads and find triggers. Default: 200."),
    ] = None
    evaluation: Annotated[
        str | None,
        typer.Option(
            metavar="<path>",
            help="File to evaluate on. Default: the rest of the data.",
        ),
    ] = None
    evaluation_examples: Annotated[
        int | None, typer.Option(help="Most rows to evaluate on. Default: all.")
    ] = None
    parts: Annotated[
        str | None, typer.Option(help="Of taylor,leave-one-out,pruning,attack. Default: all.")
    ] = None
    rtol: Annotated[float | None, typer.Option(help="Attribution: relative error.")] = None
    target: Annotated[
        str | None, typer.Option(help="Attribution: predicted, gold, or a label.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Pruning: steps from no head to all.")] = None
    random: Annotated[int | None, typer.Option(help="Pruning: random orders.")] = None
    within: Annotated[
        float | None, typer.Option(help="Pruning: points of accuracy that may be lost.")
    ] = None
    triggers: Annotated[int | None, typer.Option(help="Attack: triggers of each class.")] = None


@dataclass(frozen=True, kw_only=True)
class NamingOptions(KeyOptions):
    """The name of a study, and its user."""

    panel = "Name and queue"
    prefix = ""

    name: Annotated[str | None, typer.Option(help="Name shown in lists.")] = None
    queue: Queue = None


@dataclass(frozen=True, kw_only=True)
class StudyRunOptions:
    """Actions of the command on a study."""

    panel: ClassVar[str | None] = None

    set_: Assignments = None
    check: CheckOnly = False
    watch: Annotated[bool, typer.Option(help="Show its progress until it ends.")] = True
    as_json: AsJson = False


@with_groups
def study(
    source: SourceOptions, parts: StudyOptions, naming: NamingOptions, run: StudyRunOptions
) -> int:
    """Repeat the paper's study on a model and data: importance, pruning and triggers, as jobs.

    The columns are `text` and `label` unless --text and --label name others.
    """
    with connected() as store:
        raw = _raw(store, source, parts, naming, run.set_)
        if run.check:
            _show_checked(store.check_study(raw), run.as_json)
            return 0
        submitted = store.submit_study(raw)
        number, jobs = submitted["study"], submitted["jobs"]
        if not run.as_json:
            _show_submitted(submitted, f"{store.dashboard}/studies/{number}")
        status = watch_jobs(store, jobs, quiet=run.as_json) if run.watch else 0
        if run.as_json:
            print_json(store.study(number))
        elif run.watch:
            show_study(store.study(number))
        return status


def _show_submitted(submitted: Facts, address: str) -> None:
    from cli.submission import say_understood

    taken = sorted(submitted["reused"].values())
    words = f"; there already: {', '.join(map(str, taken))}" if taken else ""
    listed = ", ".join(f"{job} ({step})" for step, job in submitted["jobs"].items())
    out.print(f"Study {submitted['study']}: jobs {listed}{words}.")
    out.print(address)
    say_understood(None, submitted["notes"])


def show_study(study: Mapping[str, Any]) -> None:
    """Print a table of a study's steps, and its findings."""
    rows = []
    for step, job in study["steps"].items():
        seconds = job["elapsed_seconds"]
        time = None if seconds is None else duration(seconds)
        rows.append((step, job["id"], job["status"], time))
    print_table(("step", "job", "state", "time"), rows)
    for step, sentences in study["findings"].items():
        for sentence in sentences:
            out.print(f"{step}: {sentence}")


def _raw(
    store: Store,
    source: SourceOptions,
    parts: StudyOptions,
    naming: NamingOptions,
    assignments: Iterable[str] | None,
) -> dict[str, Any]:
    from cli.submission import complete
    from jobs.study import StudySpec

    columns = {"text_columns": ["text"], "label_column": "label"}
    started = {"spec": {"data": dict(columns)}}
    groups = (source, parts, naming)
    raw = complete(store, started, *groups, assignments=assignments, spec=StudySpec)
    spec = raw["spec"]
    if isinstance(spec.get("evaluation"), dict):
        same = {key: spec["data"][key] for key in columns}
        spec["evaluation"] = {**same, **spec["evaluation"]}
    return raw


def _show_checked(checked: Facts, as_json: bool) -> None:
    from cli.submission import say_understood

    estimate = checked["estimate"]
    if as_json:
        print_json({"jobs": list(checked["jobs"]), "reused": checked["reused"], **estimate})
    else:
        out.print(f"Valid: {', '.join(checked['jobs'])}. {estimate['basis'].capitalize()}.")
        say_understood(checked["understood"], checked["notes"])
