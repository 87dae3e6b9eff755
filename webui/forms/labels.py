"""The names that forms give their fields, and problems in these words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobs.errors import Problem

LABELS = {
    "model": "Model",
    "model.name": "Folder or hub name",
    "model.revision": "Model revision",
    "data": "Data",
    "data.path": "File on the server",
    "data.dataset": "Dataset",
    "data.config": "Configuration",
    "data.split": "Split",
    "data.revision": "Data revision",
    "data.text_columns": "Text columns",
    "data.label_column": "Label column",
    "data.limit": "Rows, at most",
    "data.offset": "Rows to skip",
    "data.sample": "Random sample",
    "data.seed": "Seed of the sample",
    "max_length": "Longest input",
    "dtype": "Number format",
    "device": "Device",
    "keep_text": "Keep texts and tokens with the results",
    "name": "Name in lists",
    "priority": "Priority",
    "queue": "Queue",
    "deadline": "Deadline",
    "keep_days": "Delete the job after",
    "keep_details_days": "Purge its details after",
    "cron": "Repeat",
    "zone": "Time zone of the schedule",
}
"""Of the fields that every kind of job has; those of a kind are in its `KindPage`."""


def in_words(problems: Sequence[Problem], labels: Mapping[str, str]) -> list[Problem]:
    """The problems with the labels of fields where their texts name fields by their keys."""
    keys = sorted((key for key in labels if "." in key or "_" in key), key=len, reverse=True)
    named = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, keys))})(?![\w]|\.\w)")

    def words(text: str) -> str:
        return named.sub(lambda found: f"“{labels[found[1]]}”", text)

    return [replace(p, message=words(p.message), remedy=words(p.remedy)) for p in problems]
