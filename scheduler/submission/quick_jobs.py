"""An attack by hand: one text and one trigger, as an ordinary job that goes first."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from jobs.errors import refuse
from jobs.inputs.data import save_upload
from jobs.settings import Settings

FIRST = 100
"""The highest priority: before the waiting shards of every other job."""
_NAMES = ("premise", "hypothesis")


def attack_by_hand(
    model: str, texts: Sequence[str], words: Sequence[str], settings: Settings
) -> dict[str, Any]:
    """The raw submission of an attack on a text, or a pair, with words for each.

    Raises InputError for an empty text, words without a text, and no words.
    """
    first, second = (*texts, "")[:2]
    if not first.strip():
        raise refuse("text", first, "is empty", "Write the text that the words are put into.")
    row = dict(zip(_NAMES, [first, second] if second.strip() else [first], strict=False))
    parts = [part.split() for part in (*words, "")[:2]]
    if parts[1] and len(row) < 2:
        message = "has words, but there is no second text"
        raise refuse("second_words", words[1], message, "Write a second text.")
    if not any(parts):
        raise refuse("words", "", "is empty", "Write the words to put into the text.")
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    path = save_upload(io.BytesIO(line), "attack.jsonl", settings)
    shown = " | ".join(" ".join(part) for part in parts[: len(row)])
    return {
        "spec": {
            "kind": "attack",
            "model": {"name": model},
            "data": {"path": str(path), "text_columns": list(row)},
            "given": [parts[: len(row)]],
            "insertion": "text",
        },
        "name": " ".join(f"{shown}: {first}".split())[:80],
        "priority": FIRST,
    }
