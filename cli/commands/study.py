"""The command that runs a whole study: submit, watch every step, say what came out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.commands.jobs import AsJson, absolute, user
from cli.context import opened, out, print_json
from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs import formatting
from jobs.states import JobState
from scheduler.serializers import study_json
from scheduler.submission.study import check_study, submit_study


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Jobs")(study)


def study(
    model: Annotated[str, typer.Option(help="Local folder or hub name.")],
    data: Annotated[str | None, typer.Option(help="JSONL, CSV or Parquet file.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Hub dataset, with --split.")] = None,
    config: Annotated[str | None, typer.Option(help="Its configuration.")] = None,
    split: Annotated[str | None, typer.Option(help="Its split.")] = None,
    text: Annotated[str, typer.Option(help="Text column, or two: premise,hypothesis.")] = "text",
    label: Annotated[str, typer.Option(help="Column with the gold label.")] = "label",
    limit: Annotated[int | None, typer.Option(help="Largest number of rows of the data.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="First rows: heads are ranked, triggers found on them.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(help="File to evaluate on. Default: the rest of the data.")
    ] = None,
    evaluation_examples: Annotated[int | None, typer.Option(help="Most rows of it.")] = None,
    parts: Annotated[
        str | None, typer.Option(help="Of taylor,leave-one-out,pruning,attack. Default: all.")
    ] = None,
    rtol: Annotated[float | None, typer.Option(help="Attribution: relative error.")] = None,
    target: Annotated[str | None, typer.Option(help="predicted, gold, or a label.")] = None,
    steps: Annotated[int | None, typer.Option(help="Pruning: steps to all heads.")] = None,
    random: Annotated[int | None, typer.Option(help="Pruning: random orders.")] = None,
    within: Annotated[float | None, typer.Option(help="Pruning: points that may go.")] = None,
    triggers: Annotated[int | None, typer.Option(help="Attack: triggers of each class.")] = None,
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    dry_run: Annotated[bool, typer.Option("--check", help="Check and estimate only.")] = False,
    follow: Annotated[bool, typer.Option(help="Watch it until it ends.")] = True,
    as_json: AsJson = False,
) -> int:
    """Run the paper on a model and data: importance, pruning and triggers, as jobs."""
    columns = {"text_columns": text, "label_column": label}
    rows = {"path": absolute(data, always=True), "dataset": dataset, "config": config}
    given = {
        "model": {"name": absolute(model)},
        "data": _given({**rows, "split": split, "limit": limit, **columns}),
        "examples": examples,
        "evaluation": evaluation and {"path": absolute(evaluation, always=True), **columns},
        "evaluation_examples": evaluation_examples,
        "parts": None if parts is None else [p.strip() for p in parts.split(",") if p.strip()],
        **{"rtol": rtol, "target": target, "steps": steps, "random": random, "within": within},
        "triggers": triggers,
    }
    raw = {"name": name, "user": user(), "spec": _given(given)}
    with opened() as (settings, database):
        checked = check_study(raw, settings, database)
        if dry_run:
            plan = checked.estimate
            found = {"jobs": list(checked.jobs), "reused": checked.reused, **plan.__dict__}
            if as_json:
                print_json(found)
            else:
                out.print(f"Good: {', '.join(checked.jobs)}. {plan.basis.capitalize()}.")
            return 0
        submitted = submit_study(checked, database)
        if not as_json:
            taken = sorted(set(submitted.jobs.values()) & set(checked.reused.values()))
            words = f"; there already: {', '.join(map(str, taken))}" if taken else ""
            out.print(f"Study {submitted.study}: jobs {_listed(submitted.jobs)}{words}.")
        status = 0
        if follow:
            status = follow_study(database, submitted.jobs, quiet=as_json)
        if as_json:
            print_json(study_json(database, submitted.study))
        elif follow:
            show_study(study_json(database, submitted.study))
        return status


def follow_study(
    database: Database,
    jobs: Mapping[str, int],
    stop: threading.Event | None = None,
    *,
    quiet: bool = False,
) -> int:
    """Show the progress of every step until all have ended or `stop` is set; returns 0 when all
    have succeeded."""
    stop = stop or threading.Event()
    columns = (
        TextColumn("{task.description} {task.fields[state]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=quiet) as progress:
        tasks = {
            step: progress.add_task(step, total=None, start=False, state="", rate="")
            for step in jobs
        }
        while True:
            found = {step: job_reads.get_job(database, number) for step, number in jobs.items()}
            for step, job in found.items():
                _show(progress, tasks[step], job)
            if all(job.final for job in found.values()) or stop.wait(0.4):
                break
    for step, job in found.items():
        if job.error and not quiet:
            out.print(f"{step} {job.state.value}: {job.error}")
    return 0 if all(job.state is JobState.SUCCEEDED for job in found.values()) else 1


def show_study(study: Mapping[str, Any]) -> None:
    """Print a table of a study's steps, and its findings."""
    table = Table("step", "job", "state", "time", box=None, pad_edge=False)
    for step, job in study["steps"].items():
        seconds = job["elapsed_seconds"]
        time = "" if seconds is None else formatting.duration(seconds)
        table.add_row(step, str(job["id"]), job["state"], time)
    out.print(table)
    for step, sentences in study["findings"].items():
        for sentence in sentences:
            out.print(f"{step}: {sentence}")


def _show(progress: Progress, task: Any, job: Job) -> None:
    if job.started_at is not None and progress.tasks[task].start_time is None:
        progress.start_task(task)
    rate = f"{job.rate:.1f} examples/s" if job.rate else ""
    state = job.waiting or job.state.value
    total = job.examples or None
    progress.update(task, total=total, completed=job.computed, state=state, rate=rate)
    if job.final:
        progress.stop_task(task)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _listed(jobs: Mapping[str, int]) -> str:
    return ", ".join(f"{number} ({step})" for step, number in jobs.items())
