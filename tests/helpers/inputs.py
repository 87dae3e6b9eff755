"""Model folders, data files and raw submissions for tests of input: no torch, no weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InputError, Problem
from jobs.inputs.data.examples import open_rows
from jobs.inputs.data.rows import Summary
from jobs.settings import Settings
from jobs.specs.base import DataSpec

LABELS = ("no", "maybe", "yes")
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "no", "1": "maybe", "2": "yes"},
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


EMPTY_WEIGHTS = "\x02" + "\0" * 7 + "{}"
"""A safetensors file without a tensor."""


TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "text": 1}, "unk_token": "[UNK]"},
    }
)
"""A tokenizer of two words."""


def model_folder(folder: Path, *, without: Iterable[str] = (), **changes: Any) -> Path:
    """A folder that looks like a saved classifier; `changes` go to its config, None removes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    files = {
        "config.json": json.dumps(config),
        "model.safetensors": EMPTY_WEIGHTS,
        "tokenizer.json": TOKENIZER,
    }
    for name, content in files.items():
        if name not in without:
            (folder / name).write_text(content, encoding="utf-8")
    return folder


def data_file(path: Path, rows: int = 6) -> Path:
    """Labelled pairs as JSON lines."""
    lines = [
        {"premise": f"text {n}", "hypothesis": f"second {n}", "label": LABELS[n % 3]}
        for n in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def raw_submission(home: Path, **spec: Any) -> dict[str, Any]:
    """A good submission on a model and a data file made in `home`; `spec` changes its spec."""
    model, data = home / "model", home / "pairs.jsonl"
    if not model.exists():
        model_folder(model)
    if not data.exists():
        data_file(data)
    changed = {"data": {}, **spec}
    return {
        "spec": {
            "model": {"name": str(model)},
            **changed,
            "data": {
                "path": str(data),
                "text_columns": ["premise", "hypothesis"],
                "label_column": "label",
                **changed["data"],
            },
        }
    }


@dataclass(frozen=True, kw_only=True)
class ReadRows:
    """The columns of rows that were read."""

    text_a: list[str]
    text_b: list[str] | None
    labels: list[object]
    source_rows: list[int]
    places: list[str]
    summary: Summary


def read_rows(
    spec: DataSpec, settings: Settings, inline: list[dict[str, object]] | None = None
) -> ReadRows:
    """The rows that a spec selects, as a submission reads them."""
    with open_rows(spec, settings, inline) as found:
        rows = list(found.rows)
    return ReadRows(
        text_a=[row.texts[0] for row in rows],
        text_b=[row.texts[1] for row in rows] if len(spec.text_columns) == 2 else None,
        labels=[row.label for row in rows],
        source_rows=[row.number for row in rows],
        places=[row.place for row in rows],
        summary=found.summary,
    )


def refused(call: Callable[[], object], *words: str) -> Problem:
    """The only problem of the InputError that `call` raises; its message has all the words."""
    with pytest.raises(InputError) as caught:
        call()
    assert len(caught.value.problems) == 1, str(caught.value)
    message = str(caught.value)
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"
    assert "\n" not in message
    return caught.value.problems[0]
