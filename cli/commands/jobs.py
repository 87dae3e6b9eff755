"""Commands on jobs: submit, jobs, watch, cancel, pause, resume, delete."""

from __future__ import annotations

import getpass
import json
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.context import opened, out, print_json
from db.database import Database
from db.reads import jobs as job_reads
from jobs.errors import nearest, refuse
from jobs.specs.submission import Submission
from jobs.states import SHOWN_JOB_STATES, JobState
from scheduler.serializers import job_json
from scheduler.submission.control import control
from scheduler.submission.presets import presets
from scheduler.submission.submit import check, submit

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
JobId = Annotated[int, typer.Argument(help="Number of the job.", metavar="JOB")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("submit", rich_help_panel="Jobs")(submit_command)
    for command in (jobs, watch, cancel, pause, resume, delete):
        app.command(rich_help_panel="Jobs")(command)


def submit_command(
    model: Annotated[str | None, typer.Option(help="Local folder or hub name.")] = None,
    revision: Annotated[str | None, typer.Option(help="Hub revision of the model.")] = None,
    data: Annotated[str | None, typer.Option(help="JSONL, CSV or Parquet file.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Hub dataset (with --set data.split=...).")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Text column, or two: premise,hypothesis.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column with the gold label.")] = None,
    limit: Annotated[int | None, typer.Option(help="Largest number of rows.")] = None,
    rtol: Annotated[float | None, typer.Option(help="Relative error to aim at.")] = None,
    integration: Annotated[
        str | None, typer.Option(help="auto, gauss-legendre:m or left-riemann:m.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="predicted, gold, or a label.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="attribution (default) or another kind of job.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="importance: taylor or leave-one-out.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Run it even where a job has these results already.")
    ] = False,
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    priority: Annotated[
        int | None, typer.Option(help="-100 to 100; higher runs first. Default: 0.")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(help="It ends then: seconds from now, or 2026-11-30T08:00+01:00."),
    ] = None,
    keep_days: Annotated[
        float | None, typer.Option(help="Days after its end that it is deleted; 0 is never.")
    ] = None,
    keep_details_days: Annotated[
        float | None, typer.Option(help="Days until texts and rows per example go; 0 is never.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="JSON file with the spec to start from.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Preset to start from, by its title.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key, e.g. data.sample=500.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--check", help="Check and estimate only.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> int:
    """Check and submit a job."""
    with opened() as (settings, database):
        raw = start_from(spec, preset, presets(settings))
        given = {
            "spec.model.name": absolute(model),
            "spec.model.revision": revision,
            "spec.data.path": absolute(data, always=True),
            "spec.data.dataset": dataset,
            "spec.data.text_columns": text,
            "spec.data.label_column": label,
            "spec.data.limit": limit,
            "spec.rtol": rtol,
            "spec.integration": integration,
            "spec.target": target,
            "spec.kind": kind,
            "spec.method": method,
            "again": again or None,
            "name": name or None,
            "priority": priority,
            "deadline": deadline,
            "keep_days": keep_days,
            "keep_details_days": keep_details_days,
            "user": user(),
        }
        for key, value in given.items():
            if value is not None:
                _put(raw, key, value)
        for assignment in set_ or ():
            assign(raw, assignment)
        checked = check(raw, settings, database)
        plan = checked.estimate
        if dry_run:
            if as_json:
                print_json(plan.__dict__)
            else:
                out.print(f"Good. {_estimate_words(plan.examples, plan.shards, plan.seconds)}")
            return 0
        job_id = submit(checked, database)
        if as_json:
            existing = checked.existing_job is not None
            print_json({"job": job_id, "existing": existing, "same_as": checked.same_as})
        elif checked.same_as:
            out.print(f"Job {job_id} has these results already; --again runs it again.")
        elif checked.existing_job:
            out.print(f"Job {job_id} is the same work and not finished yet; nothing was added.")
        else:
            words = _estimate_words(plan.examples, plan.shards, plan.seconds)
            out.print(f"Job {job_id} submitted. {words}")
        return follow_job(database, job_id) if follow else 0


def jobs(
    state: Annotated[str, typer.Option(help="Only jobs in this state.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest jobs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if state and state not in SHOWN_JOB_STATES:
        raise refuse("--state", state, "is not a state of a job", nearest(state, SHOWN_JOB_STATES))
    with opened() as (_, database):
        found = job_reads.list_jobs(database, state=state, limit=limit)
    if as_json:
        print_json([job_json(job) for job in found])
        return
    heads = ("job", "name", "state", "queue", "examples", "rate", "user")
    table = Table(*heads, box=None, pad_edge=False)
    for job in found:
        rate = f"{job.rate:.1f}/s" if job.rate else ""
        done = f"{job.computed:,} of {job.examples:,}"
        table.add_row(str(job.id), job.name, job.state.value, job.queue, done, rate, job.user)
    out.print(table if found else "No jobs yet. `headwise submit --help` says how to make one.")


def watch(job: JobId) -> int:
    """Follow a job with a progress bar; exit status 1 unless it succeeds."""
    with opened() as (_, database):
        return follow_job(database, job)


def cancel(job: JobId) -> None:
    """Cancel a job; running shards stop at their next batch."""
    _control(job, "cancel")


def pause(job: JobId) -> None:
    """Pause a job; finished shards stay."""
    _control(job, "pause")


def resume(job: JobId) -> None:
    """Let a paused job go on."""
    _control(job, "resume")


def delete(job: JobId) -> None:
    """Delete a finished job and its results."""
    _control(job, "delete")


def follow_job(database: Database, job_id: int, stop: threading.Event | None = None) -> int:
    """Show a job's progress until it is final or `stop` is set; returns 0 when it succeeded."""
    stop = stop or threading.Event()
    job = job_reads.get_job(database, job_id)
    columns = (
        TextColumn("job {task.fields[job]} {task.fields[state]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("job", total=None, job=job_id, state="", rate="")
        while True:
            rate = f"{job.rate:.1f} examples/s" if job.rate else ""
            if job.eta:
                rate += f", {job.eta:.0f} s left"
            progress.update(
                task,
                total=job.examples or None,
                completed=job.computed,
                state=job.waiting or job.state.value,
                rate=rate,
            )
            if job.final or stop.wait(0.4):
                break
            job = job_reads.get_job(database, job_id)
    if job.error:
        out.print(f"{job.state.value}: {job.error}")
    return 0 if job.state is JobState.SUCCEEDED else 1


def _control(job_id: int, action: str) -> None:
    with opened() as (_, database):
        control(database, job_id, action)
        if action == "delete":
            out.print(f"Job {job_id} deleted.")
        else:
            out.print(f"Job {job_id} is {job_reads.get_job(database, job_id).state.value}.")


def start_from(
    spec: Path | None, preset: str | None, known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The raw submission of a preset or of a JSON file. Raises InputError."""
    if preset is not None:
        matches = [title for title in known if title.casefold().startswith(preset.casefold())]
        if not matches:
            raise refuse("--preset", preset, "is unknown", nearest(preset, known))
        return dict(json.loads(json.dumps(known[matches[0]])))
    if spec is None:
        return {"spec": {}}
    try:
        raw = json.loads(spec.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refuse("--spec", str(spec), f"cannot be read: {error}", "Give a JSON file.") from None
    return raw if isinstance(raw, dict) and "spec" in raw else {"spec": raw}


def absolute(path: str | None, *, always: bool = False) -> str | None:
    """A path of the command line, which is relative to the current folder; hub names stay."""
    if path is None or not (always or path.startswith(("/", "./", "../", "~"))):
        return path
    return str(Path(path).expanduser().absolute())


def assign(raw: dict[str, Any], assignment: str) -> None:
    """Set a key of a raw submission from KEY=VALUE. Raises InputError."""
    key, separator, text = assignment.partition("=")
    if not separator:
        raise refuse("--set", assignment, "is not key=value", "Write e.g. --set data.sample=500.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    outer = Submission.model_fields.keys() - {"spec"}
    _put(raw, key if key in outer else f"spec.{key}", value)


def _put(raw: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    place = raw
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise refuse("--set", key, f"{part!r} holds no keys", "See docs/jobs.md.")
    place[last] = value


def user() -> str:
    """Whose jobs these are: the name of who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"


def _estimate_words(examples: int, shards: int, seconds: float | None) -> str:
    if not examples:
        return "Its size is known once the data is loaded."
    time_words = "" if seconds is None else f", about {max(1, round(seconds)):,} s"
    return f"{examples:,} examples in {shards:,} shards{time_words}."
