"""The families that submitting accepts are families that the engine computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import headwise
from jobs.models import SUPPORTED_FAMILIES, model_facts
from jobs.settings import Settings
from jobs.spec import ModelSpec

LAYERS, HEADS, POSITIONS = 2, 2, 24


def tiny(family: str) -> torch.nn.Module:
    """A random classifier of the family; DistilBERT has its own names for everything."""
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 32,
    }
    if family == "distilbert":
        sizes = {"dim": 16, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 32}
    config = AutoConfig.for_model(
        family,
        **sizes,
        vocab_size=40,
        max_position_embeddings=POSITIONS,
        id2label={0: "no", 1: "maybe", 2: "yes"},
        label2id={"no": 0, "maybe": 1, "yes": 2},
    )
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("family", SUPPORTED_FAMILIES)
def test_a_supported_family_is_read_and_computed(
    settings: Settings, tmp_path: Path, family: str
) -> None:
    model = tiny(family)
    folder = settings.home / "model"
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    facts = model_facts(ModelSpec(name=str(folder)), settings)
    assert (facts.family, facts.labels) == (family, ("no", "maybe", "yes"))
    assert (facts.layers, facts.heads) == (LAYERS, HEADS)

    # The longest input that the facts promise.
    assert facts.max_length is not None
    ids = np.arange(facts.max_length) % 30 + 5
    result = headwise.attribute_encoded(model, [{"input_ids": ids}], integration="gauss-legendre:8")
    assert result.scores.shape == (1, facts.layers, facts.heads)
    assert np.isfinite(result.scores).all()
