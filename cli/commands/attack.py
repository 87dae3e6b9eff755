"""Commands that put triggers into texts: attack, try-attack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from cli.context import out, print_json, print_table
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
from cli.store.chosen import connected
from jobs.errors import HeadwiseError


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
    from cli.submission import complete, submit_raw

    with connected() as store:
        models = [{"name": store.model_name(name)} for name in transfer or ()]
        spec: dict[str, Any] = {"kind": "attack", "models": models}
        if source.data is None and source.dataset is None:
            spec["data"] = dict(store.job(triggers.triggers_from)["spec"]["data"])
        raw = complete(store, {"spec": spec}, triggers, source, queue, assignments=set_)
        return submit_raw(store, raw, run)


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
    from scheduler.submission.quick_jobs import attack_text

    with connected() as store:
        texts, places = (text, second), (positions, second_positions)
        name = store.model_name(model or "")
        job = store.submit(attack_text(name, texts, (words, second_words), places))["job"]
        while not job["final"]:
            time.sleep(store.poll_seconds)
            job = store.job(job["id"])
        found = store.tried(job["id"])
    if found["texts"] is None:
        raise HeadwiseError(f"Job {job['id']} ended without a result.")
    if as_json:
        print_json({"job": job["id"], "labels": job["labels"], **found})
        return
    for part in found["texts_after"]:
        out.print(part)
    shares = zip(job["labels"], found["before"], found["after"], strict=True)
    rows = [(name, f"{before:.1%}", f"{after:.1%}") for name, before, after in shares]
    print_table(("label", "before", "after"), rows)
