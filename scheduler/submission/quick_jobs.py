"""Quick jobs: one text, as an ordinary job of one example that runs before all others.

The text is a row of the submission. It is stored as the job's example and nowhere else, so that it
goes when details are purged, when the job is deleted, and after the run where texts are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.errors import InputError, refuse
from jobs.people import HIGHEST_PRIORITY
from jobs.specs.submission import Submission

FIRST = HIGHEST_PRIORITY
"""The highest priority: before the waiting shards of every other job."""


def explain_text(model: str, texts: Sequence[str], target: str) -> dict[str, Any]:
    """The raw submission of an attribution of a text, or a pair. Raises InputError without one."""
    row = _row(texts)
    spec = {"kind": "attribution", **_model_and_data(model, row), "target": target or "predicted"}
    return {"spec": spec, "rows": [row], "priority": FIRST}


def attack_text(
    model: str, texts: Sequence[str], words: Sequence[str], positions: Sequence[str] = ()
) -> dict[str, Any]:
    """The raw submission of an attack on a text, or a pair, with words for each.

    positions: of the words of each text, as numbers from 0 to 1; empty to spread them evenly

    Raises InputError for an empty text, words without a text, no words, and positions that are not
    one number for each word.
    """
    row = _row(texts)
    parts = [part.split() for part in (*words, "")[:2]]
    if parts[1] and len(row) < 2:
        message = "has words, but there is no second text"
        raise refuse("second_words", words[1], message, "Write a second text.")
    if not any(parts):
        raise refuse("words", "", "is empty", "Write the words to put into the text.")
    given = parts[: len(row)]
    spec = {"kind": "attack", **_model_and_data(model, row), "given": [given], "insertion": "text"}
    if any(map(str.split, positions)):
        fields = zip(("positions", "second_positions"), positions, given, strict=False)
        spec["positions"] = [[_positions(*field) for field in fields]]
    name = " | ".join(" ".join(part) for part in given)[:80]
    return {"spec": spec, "rows": [row], "name": name, "priority": FIRST}


def _positions(field: str, typed: str, words: Sequence[str]) -> list[float]:
    try:
        found = [float(number) for number in typed.replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) != len(words) or not all(0 <= place <= 1 for place in found):
        message = f"must be one number from 0 to 1 for each of {len(words)} words"
        raise refuse(field, typed, message, "Leave all positions empty to spread the words evenly.")
    return found


def is_one_text(submission: Submission) -> bool:
    """True if it explains or attacks one text, which everybody may do before all others."""
    asks = submission.spec.kind == "attribution" or bool(getattr(submission.spec, "given", ()))
    return asks and submission.spec.data.inline and len(submission.rows or ()) == 1


def rows_again(database: Database, job: Job) -> list[dict[str, object]]:
    """The rows that a job was submitted with. Raises InputError once its texts are gone."""
    return [
        row_again(job, stored.text_a, stored.text_b, stored.gold)
        for stored in job_reads.list_texts(database, job.id)
    ]


def row_again(
    job: Job, text: str | None, second: str | None, gold: int | None
) -> dict[str, object]:
    """The row that a stored example was submitted with. Raises InputError once its text is gone."""
    data = job.spec["data"]
    if text is None:
        message = f"are gone: the texts of job {job.id} are not stored any more"
        raise refuse("rows", None, message, "Give them again.")
    row: dict[str, object] = dict(zip(data["text_columns"], (text, second), strict=False))
    if (label := data["label_column"]) is not None:
        row[label] = None if gold is None else job.labels[gold]
    return row


def texts_again(database: Database, job: Job) -> tuple[str, str]:
    """The text of a quick job, or its pair, to start from; empty once they are gone."""
    try:
        rows = rows_again(database, job)
    except InputError:
        return "", ""
    if len(rows) != 1:
        return "", ""
    first, second = (*map(str, rows[0].values()), "")[:2]
    return first, second


def _row(texts: Sequence[str]) -> dict[str, str]:
    first, second = (text.replace("\r\n", "\n") for text in (*texts, "")[:2])
    if not first.strip():
        raise refuse("text", "", "is empty", "Write a text.")
    return {"text": first, "second": second} if second.strip() else {"text": first}


def _model_and_data(model: str, row: dict[str, str]) -> dict[str, Any]:
    return {"model": {"name": model}, "data": {"inline": True, "text_columns": list(row)}}
