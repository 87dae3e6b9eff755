"""The command that runs a whole study: submit it, show its progress, print its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from cli.context import opened, out, print_json, print_table
from cli.options import AsJson, CheckOnly, KeyOptions, SourceOptions, absolute_path, with_groups
from cli.progress import watch as watch_jobs
from cli.submission import complete, say_understood
from jobs.formatting import duration
from scheduler.serializers import study_json
from scheduler.submission.study import CheckedStudy, check_study, submit_study


@dataclass(frozen=True, kw_only=True)
class StudyOptions(KeyOptions):
    """The parts of a study, and their sizes."""

    panel = "Study"

    examples: Annotated[
        int | None,
        typer.Option(help="First rows: to rank heads and find triggers. Default: 200."),
    ] = None
    evaluation: Annotated[
        str | None,
        typer.Option(
            parser=absolute_path,
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


@with_groups
def study(
    source: SourceOptions,
    parts: StudyOptions,
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    check: CheckOnly = False,
    watch: Annotated[bool, typer.Option(help="Show its progress until it ends.")] = True,
    as_json: AsJson = False,
) -> int:
    """Run the paper on a model and data: importance, pruning and triggers, as jobs.

    The columns are `text` and `label` unless --text and --label name others.
    """
    with opened() as (settings, database):
        checked = check_study(_raw(source, parts, name), settings, database)
        if check:
            _show_checked(checked, as_json)
            return 0
        submitted = submit_study(checked, database)
        if not as_json:
            taken = sorted(set(submitted.jobs.values()) & set(checked.reused.values()))
            words = f"; there already: {', '.join(map(str, taken))}" if taken else ""
            jobs = ", ".join(f"{number} ({step})" for step, number in submitted.jobs.items())
            out.print(f"Study {submitted.study}: jobs {jobs}{words}.")
        status = watch_jobs(database, submitted.jobs, quiet=as_json) if watch else 0
        if as_json:
            print_json(study_json(database, submitted.study))
        elif watch:
            show_study(study_json(database, submitted.study))
        return status


def show_study(study: Mapping[str, Any]) -> None:
    """Print a table of a study's steps, and its findings."""
    rows = []
    for step, job in study["steps"].items():
        seconds = job["elapsed_seconds"]
        time = None if seconds is None else duration(seconds)
        rows.append((step, job["id"], job["state"], time))
    print_table(("step", "job", "state", "time"), rows)
    for step, sentences in study["findings"].items():
        for sentence in sentences:
            out.print(f"{step}: {sentence}")


def _raw(source: SourceOptions, parts: StudyOptions, name: str) -> dict[str, Any]:
    columns = {"text_columns": source.text or "text", "label_column": source.label or "label"}
    raw = complete({"name": name, "spec": {"data": dict(columns)}}, source, parts)
    spec = raw["spec"]
    if parts.evaluation is not None:
        spec["evaluation"] = {"path": parts.evaluation, **columns}
    if parts.parts is not None:
        spec["parts"] = [part.strip() for part in parts.parts.split(",") if part.strip()]
    return raw


def _show_checked(checked: CheckedStudy, as_json: bool) -> None:
    estimate = checked.estimate
    if as_json:
        print_json({"jobs": list(checked.jobs), "reused": checked.reused, **asdict(estimate)})
    else:
        out.print(f"Valid: {', '.join(checked.jobs)}. {estimate.basis.capitalize()}.")
        say_understood(next(iter(checked.jobs.values())))
