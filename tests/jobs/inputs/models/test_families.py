"""The families that submitting accepts are families that the engine computes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import headwise
from benchmarks.architectures import PAGE
from benchmarks.tiny import END, tiny_model
from headwise.models.families import FAMILIES, NOT_COMPUTED, NOT_FROM_TEXT
from jobs.errors import InputError
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import ModelSpec
from tests.helpers.inputs import TOKENIZER, raw_submission, refused

# One of each way to name sizes and to count positions; sites of two layers.
SITES = {
    "bert": 2,
    "roberta": 2,
    "distilbert": 2,
    "mpnet": 2,
    "deberta-v2": 2,
    "albert": 2,
    "modernbert": 2,
    "gpt2": 2,
    "mpt": 2,
    "llama": 2,
    "bart": 6,
    "t5": 6,
    "big_bird": 2,
    "diffllama": 4,
    "esm": 2,
    "gemma3": 2,
    "ibert": 2,
    "jamba": 1,
    "layoutlm": 2,
    "luke": 2,
    "minimax": 1,
    "modernvbert": 2,
    "qwen3_next": 1,
    "xmod": 2,
    "zamba": 2,
    "zamba2": 1,
}
POSITIONS = 24
HEADS = 4


@pytest.mark.parametrize("family", SITES)
def test_a_supported_family_is_read_and_computed(
    settings: Settings, tmp_path: Path, family: str
) -> None:
    sizes = {"n_positions": POSITIONS} if family == "gpt2" else {}
    if family not in ("gpt2", "mpt", "t5"):
        sizes = {"max_position_embeddings": POSITIONS}
    names = {0: "no", 1: "maybe", 2: "yes"}
    # RoBERTa's positions start after the padding index, which is 1 in all that were published.
    padded = ("ibert", "roberta", "mpnet", "luke", "xmod")
    padding = {"pad_token_id": 1, "bos_token_id": 0} if family in padded else {}
    model = tiny_model(
        family, id2label=names, label2id={v: k for k, v in names.items()}, **padding, **sizes
    ).float()
    folder = settings.home / "model"
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(TOKENIZER)
    facts = model_facts(ModelSpec(name=str(folder)), settings)
    assert (facts.family, facts.labels) == (family, ("no", "maybe", "yes"))
    assert (facts.layers, facts.heads) == (SITES[family], HEADS)

    # The longest input that the facts promise.
    assert (facts.max_length is None) == (family == "t5")
    ids = np.arange(facts.max_length or POSITIONS) % 30 + 5
    ids[-1] = END
    result = headwise.attribute_encoded(model, [{"input_ids": ids}], integration="gauss-legendre:2")
    assert result.scores.shape == (1, facts.layers, facts.heads)
    assert np.isfinite(result.scores).all()


def test_library_and_jobs_have_one_list() -> None:
    """Every type that works on the page is one that jobs take, or has a reason why not."""
    engine, jobs = PAGE.read_text().split("## Jobs")
    works, refused = engine.split("## Refused")
    assert _types(works) == sorted({*FAMILIES, *NOT_FROM_TEXT})
    assert _types(jobs) == sorted(FAMILIES)
    assert dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", refused, re.M)) == NOT_COMPUTED
    assert not set(FAMILIES) & {*NOT_FROM_TEXT, *NOT_COMPUTED}
    assert set(SITES) <= set(FAMILIES)


def _types(table: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", table, re.M)


@pytest.mark.parametrize("family", ["fnet", "squeezebert"])
def test_a_family_that_is_not_computed_is_refused_with_the_reason(
    settings: Settings, family: str
) -> None:
    spec = raw_submission(settings.home)["spec"]["model"]
    path = settings.home / "model" / "config.json"
    config = {**json.loads(path.read_text()), "model_type": family}
    path.write_text(json.dumps(config))
    refused(
        lambda: model_facts(ModelSpec(**spec), settings),
        f"unsupported family '{family}': {NOT_COMPUTED[family]}",
    )


@pytest.mark.parametrize("family", NOT_FROM_TEXT)
def test_a_family_that_does_not_read_texts_is_refused(settings: Settings, family: str) -> None:
    folder = settings.home / "model"
    tiny_model(family).float().save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=f"unsupported family '{family}': {NOT_FROM_TEXT[family]}"):
        model_facts(ModelSpec(name=str(folder)), settings)
