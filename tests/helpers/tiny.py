"""Tiny random models and data, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedTokenizerFast,
)

from benchmarks.tiny import BEGIN, END, tiny_model

WORDS = (
    "the a cat dog river bridge night morning sings sleeps runs waits loudly softly never always "
    "under over near red green old young house garden rain snow and but because while"
).split()


def bert_folder(
    folder: Path, *, layers: int = 2, heads: int = 4, hidden: int = 32, **config: Any
) -> Path:
    """Save a random 3-class BERT with a word tokenizer; returns the folder.

    config: changes to its configuration
    """
    torch.manual_seed(0)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate([*special, *WORDS])}
    BertTokenizer(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    labels = config.pop("labels", ("no", "maybe", "yes"))
    known = {
        "vocab_size": len(vocabulary),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 64,
        # Wide enough that the integrand bends: the adaptive rule has something to do.
        "initializer_range": 0.3,
        "id2label": dict(enumerate(labels)),
        "label2id": {name: number for number, name in enumerate(labels)},
    }
    made = BertConfig(**{**known, **config})
    BertForSequenceClassification(made).eval().save_pretrained(folder)
    return folder


def pairs_file(path: Path, count: int) -> Path:
    """Write `count` different labelled pairs as JSON lines; returns the path."""
    labels = ("no", "maybe", "yes")
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            words = [WORDS[(number * 7 + place * 11) % len(WORDS)] for place in range(12)]
            row = {
                "premise": " ".join(words[: 4 + number % 5]),
                "hypothesis": " ".join(words[8 - number % 3 :]),
                "label": labels[number % 3],
            }
            file.write(json.dumps(row) + "\n")
    return path


def classifier_folder(folder: Path, kind: str, **config: Any) -> Path:
    """Save a random 3-class model of any type with a word tokenizer; returns the folder.

    Texts end with the end-of-text token, as encoder-decoders want it.

    config: changes to its configuration
    """
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {token: number for number, token in enumerate([*special, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B </s>",
        special_tokens=[("<s>", BEGIN), ("</s>", END)],
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
    labels = ("no", "maybe", "yes")
    model = tiny_model(
        kind,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
        **config,
    )
    model.float().save_pretrained(folder)
    return folder
