"""Triggers, and what puts them into texts."""

from headwise.attack.inserting import Inserter
from tests.helpers.classifiers import tiny

TRIGGERS = [
    [("flood", 0, 1 / 8, "floods"), ("##s", 0, 1 / 4, "floods"), ("iowa", 1, 1.0, "iowa")],
    [("ice", 1, 0.5, "ice")],
    [("sad", 0, 0.5, "sad"), ("sad", 0, 0.5, "sad")],
]


def inserter(tokenizer, model=None, **changes):
    values = {"insertion": "tokens", "segments": "both", "max_length": None, **changes}
    return Inserter(model=model or tiny(), tokenizer=tokenizer, **values)
