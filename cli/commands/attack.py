"""Commands that put triggers into texts: attack, try-attack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import typer

from cli.context import opened, out, print_json, print_table
from cli.options import (
    AsJson,
    Assignments,
    KeyOptions,
    Model,
    QueueOptions,
    RunOptions,
    SourceOptions,
    with_groups,
)
from cli.submission import complete, submit_raw
from db.reads import attack as attack_reads
from db.reads import jobs as job_reads
from jobs.errors import HeadwiseError
from scheduler.submission.quick_jobs import attack_text
from scheduler.submission.submit import check, submit


@dataclass(frozen=True, kw_only=True)
class TriggerOptions(KeyOptions):
    """The triggers, and how they are put into texts."""

    panel = "Triggers"
    keys: ClassVar[Mapping[str, str]] = {"per_class": "rule.per_class"}

    triggers_from: Annotated[int, typer.Option(help="Attribution job to mine triggers from.")]
    per_class: Annotated[
        int | None, typer.Option(help="Most triggers of each label. Default: 5.")
    ] = None
    insertion: Annotated[
        str | None, typer.Option(help="tokens (default), or text: words as typed.")
    ] = None
    segments: Annotated[str | None, typer.Option(help="both (default), premise or hypothesis.")] = (
        None
    )


@with_groups
def attack(
    triggers: TriggerOptions,
    source: SourceOptions,
    queue: QueueOptions,
    run: RunOptions,
    transfer: Annotated[
        list[str] | None, typer.Option(help="Another model to try the same triggers on.")
    ] = None,
    set_: Assignments = None,
) -> int:
    """Insert the triggers that an attribution found into texts, and count changed predictions.

    Model and data are those of the attribution job unless given.
    """
    with opened() as (settings, database):
        models = [{"name": name} for name in transfer or ()]
        spec: dict[str, Any] = {"kind": "attack", "models": models}
        if source.data is None and source.dataset is None:
            spec["data"] = dict(job_reads.get_job(database, triggers.triggers_from).spec["data"])
        raw = complete({"spec": spec}, triggers, source, queue, assignments=set_)
        return submit_raw(raw, run, settings, database)


def try_attack(  # noqa: PLR0913 - each option is a parameter
    text: Annotated[str, typer.Argument(help="The text, or the premise of a pair.")],
    second: Annotated[str, typer.Argument(help="The hypothesis of a pair.")] = "",
    model: Model = None,
    words: Annotated[
        str, typer.Option(help="Words to insert into the text, separated by spaces.")
    ] = "",
    second_words: Annotated[str, typer.Option(help="Words to insert into the hypothesis.")] = "",
    positions: Annotated[
        str,
        typer.Option(
            help="Where the words go, from 0 (start) to 1 (end), like '0.2 0.8'. Default: evenly "
            "spread."
        ),
    ] = "",
    second_positions: Annotated[str, typer.Option(help="The same for the hypothesis.")] = "",
    as_json: AsJson = False,
) -> None:
    """Insert words into a text and show the probabilities before and after. Needs a worker."""
    with opened() as (settings, database):
        places = (positions, second_positions)
        raw = attack_text(model or "", (text, second), (words, second_words), places)
        job_id = submit(check(raw, settings, database), database)
        while not job_reads.get_job(database, job_id).final:
            time.sleep(0.2)
        found = attack_reads.get_tried(database, job_id)
        labels = job_reads.get_job(database, job_id).labels
    if found is None:
        raise HeadwiseError(f"Job {job_id} ended without a result.")
    if as_json:
        print_json({"job": job_id, "labels": labels, **asdict(found)})
        return
    for part in found.texts_after:
        out.print(part)
    shares = zip(labels, found.before, found.after, strict=True)
    rows = [(name, f"{before:.1%}", f"{after:.1%}") for name, before, after in shares]
    print_table(("label", "before", "after"), rows)
