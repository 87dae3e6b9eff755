"""Configurations that other programs wrote: they run, and the numbers are those of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

import headwise
from tests.helpers.tiny import WORDS, bert_folder

TEXTS = ("the cat sings", "rain", "a young dog runs softly under the bridge")


def decoder_folder(folder: Path) -> Path:
    """Save a classifier without a padding token, as most decoders are published."""
    vocabulary = {token: number for number, token in enumerate(["<end>", "<unk>", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", unk_token="<unk>", model_max_length=64
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        num_labels=3,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def single_text_calls(folder: Path) -> np.ndarray:
    """The probabilities of the model itself, one text at a time and hence without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(rows).double().softmax(-1).numpy()


def batched(folder: Path) -> np.ndarray:
    loaded = headwise.load(folder, device="cpu")
    result = headwise.attribute(loaded.model, loaded.tokenizer, TEXTS, rtol=0.05)
    return np.asarray(result.probabilities)


@pytest.mark.parametrize(
    "settings",
    [{}, {"eos_token_id": None}, {"pad_token_id": -1}, {"pad_token_id": 5_000}],
    ids=["no padding", "no end either", "negative", "no embedding"],
)
def test_a_decoder_without_a_padding_token_takes_batches(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = decoder_folder(tmp_path / "model")
    wanted = single_text_calls(folder)
    change(folder, **settings)
    np.testing.assert_allclose(batched(folder), wanted, atol=2e-6)


def test_padding_is_no_token_that_the_tokenizer_ends_texts_with(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path / "model")
    backend = json.loads((folder / "tokenizer.json").read_text())
    backend["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, special("<end>")],
        "pair": [],
        "special_tokens": {"<end>": {"id": "<end>", "ids": [0], "tokens": ["<end>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(backend))
    np.testing.assert_allclose(batched(folder), single_text_calls(folder), atol=2e-6)


def special(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


@pytest.mark.parametrize(
    "settings",
    [
        {"return_dict": False},
        {"pad_token_id": -1},
        {"pad_token_id": 5_000},
        {"pad_token_id": None},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_2"},
        {"output_attentions": True, "output_hidden_states": True},
    ],
    ids=str,
)
def test_settings_that_do_not_decide_the_numbers(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = bert_folder(tmp_path / "model")
    wanted = single_text_calls(folder)
    change(folder, **settings)
    np.testing.assert_allclose(batched(folder), wanted, atol=2e-6)
