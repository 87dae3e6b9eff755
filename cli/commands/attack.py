"""Commands on triggers: attack, try-attack."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.table import Table

from cli.commands.jobs import submit_command
from cli.context import opened, out, print_json
from db.reads import attack as attack_reads
from db.reads import jobs as job_reads
from jobs.errors import HeadwiseError
from scheduler.submission.quick_jobs import attack_by_hand
from scheduler.submission.submit import check, submit

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Jobs")(attack)
    app.command("try-attack", rich_help_panel="Jobs")(try_attack)


def attack(
    triggers_from: Annotated[int, typer.Option(help="Attribution job to mine triggers from.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name. Default: that job's.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="JSONL, CSV or Parquet file. Default: that job's data.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Text column, or two: premise,hypothesis.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column with the gold label.")] = None,
    limit: Annotated[int | None, typer.Option(help="Largest number of rows.")] = None,
    per_class: Annotated[int, typer.Option(help="Most triggers of each label.")] = 5,
    insertion: Annotated[str, typer.Option(help="tokens, or text: words as one types.")] = "tokens",
    segments: Annotated[str, typer.Option(help="both, premise or hypothesis.")] = "both",
    transfer: Annotated[
        list[str] | None, typer.Option(help="Another model to try the same triggers on.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name shown in lists.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key, e.g. rule.threshold=0.05.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Run it even where a job has these results already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--check", help="Check and estimate only.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> int:
    """Put the triggers that an attribution found into texts, and count what they do."""
    with opened() as (_, database):
        origin = job_reads.get_job(database, triggers_from)
    keys: dict[str, object] = {
        "triggers_from": triggers_from,
        "rule.per_class": per_class,
        "insertion": insertion,
        "segments": segments,
        "models": [{"name": other} for other in transfer or ()],
    }
    if data is None:
        keys = {"data": origin.spec["data"], **keys}
        own = {"text_columns": text, "label_column": label, "limit": limit}
        keys |= {f"data.{key}": value for key, value in own.items() if value is not None}
    assignments = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    return submit_command(
        model=model,
        data=data,
        text=text if data else None,
        label=label if data else None,
        limit=limit if data else None,
        kind="attack",
        again=again,
        name=name,
        set_=[*assignments, *(set_ or ())],
        dry_run=dry_run,
        follow=follow,
        as_json=as_json,
    )


def try_attack(
    text: Annotated[str, typer.Argument(help="The text, or the premise of a pair.")],
    second: Annotated[str, typer.Argument(help="The hypothesis of a pair.")] = "",
    model: Annotated[str, typer.Option(help="Local folder or hub name.")] = "",
    words: Annotated[str, typer.Option(help="Words to put into the text, by blanks.")] = "",
    second_words: Annotated[str, typer.Option(help="Words to put into the hypothesis.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put words into one text, and show the probabilities before and after; needs a worker."""
    with opened() as (settings, database):
        raw = attack_by_hand(model, (text, second), (words, second_words), settings)
        job_id = submit(check(raw, settings, database), database)
        while not job_reads.get_job(database, job_id).final:
            time.sleep(0.2)
        found = attack_reads.get_tried(database, job_id)
        labels = job_reads.get_job(database, job_id).labels
    if found is None:
        raise HeadwiseError(f"Job {job_id} ended without a result.")
    if as_json:
        print_json({"job": job_id, "labels": labels, **found.__dict__})
        return
    table = Table("label", "before", "after", box=None, pad_edge=False)
    for name, before, after in zip(labels, found.before, found.after, strict=True):
        table.add_row(name, f"{before:.1%}", f"{after:.1%}")
    out.print(table)
