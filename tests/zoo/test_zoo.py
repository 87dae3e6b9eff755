"""Some model types through every step of jobs, and back in plain transformers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from headwise.models.families import FAMILIES
from tests.zoo.roundtrip import examine

CHOSEN = (
    "bert",  # types of tokens
    "t5",  # encoder, decoder and cross attention
    "llama",  # texts padded on the left, a tokenizer with bytes for unknown characters
    "deberta-v2",  # relative positions
    "gemma3",  # a configuration of several parts
    "big_bird",  # attention that follows the length of the first text
    "falcon",  # linear layers of its own class
)
"""One of each way; others are drawn."""
DRAWN = tuple(random.Random(13).sample(sorted({*FAMILIES} - {*CHOSEN}), 2))


@pytest.mark.parametrize("kind", [*CHOSEN, *DRAWN])
def test_a_type_is_computed_and_exported(kind: str, tmp_path: Path) -> None:
    finding = examine(kind, tmp_path / "home")
    assert finding.faults == []
    assert not finding.refused
    assert {"job", "reference"} <= finding.differences.keys()
    assert finding.written or all(
        "cannot be removed" in words for words in finding.exports.values()
    )


@pytest.mark.parametrize("kind", ["canine", "lilt", "roc_bert", "t5gemma"])
def test_a_type_is_refused_by_jobs_and_library(kind: str, tmp_path: Path) -> None:
    finding = examine(kind, tmp_path / "home")
    assert finding.faults == []
    assert f"unsupported family '{kind}': " in finding.refused
