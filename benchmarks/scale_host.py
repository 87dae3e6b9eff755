"""The work of a worker besides its device: all of an attribution is real but the passes.

A device that takes 3 ms for a text of 128 tokens of BERT-base's shape is a clock: for a batch of 64
texts the worker sleeps 192 ms. Texts are tokenized, the values of each batch (made up beforehand)
are collected, become results and rows, and are committed. Whatever is not a pass,
from the first to the last one, is idle time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks.scale_device import Device
from headwise.attribution import cpu_parallel, evaluator
from headwise.attribution.batches import HostPart
from headwise.attribution.cells import BatchCells
from headwise.attribution.collect import MethodValues, SiteResult, summarize
from headwise.attribution.cpu_parallel import Tick
from headwise.attribution.engine import _Call
from headwise.options import Options
from headwise.replay import Replay

SECONDS = 0.003
"""Seconds per example."""
TOKENS, LAYERS, HEADS, BATCH = 128, 12, 12, 64
LARGE = 1e-4
"""Share of the cells of a head that are large; about ten of a site are kept then, as of trained
models."""
WORDS = 70
"""Words of each text of a pair, of which the first TOKENS tokens are kept."""


def model_folder(folder: Path, demo: Path) -> Path:
    """Make a model with the layers and heads of BERT-base, and the demo model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(demo)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=4 * HEADS,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=48,
        max_position_embeddings=TOKENS,
        num_labels=3,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    for file in demo.glob("*token*"):
        shutil.copy(file, folder)
    return folder


def long_texts(pairs: Path, count: int) -> Iterator[tuple[str, str]]:
    """Yield pairs of long texts, made of the words of a file of pairs."""
    lines = map(json.loads, pairs.read_text(encoding="utf-8").splitlines())
    words = " ".join(f"{line['premise']} {line['hypothesis']}" for line in lines).split()
    for number in range(count):
        at = number * WORDS % (len(words) - 2 * WORDS)
        yield " ".join(words[at : at + WORDS]), " ".join(words[at + WORDS : at + 2 * WORDS])


def made_up_sites() -> list[SiteResult]:
    """The results of a batch for every site: few large cells, and one row in the last layer."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.full((BATCH,), TOKENS)
    options = Options(matrices=False, head_token_attribution=True)
    found = []
    for site in range(LAYERS):
        shape = (BATCH, HEADS, TOKENS, TOKENS)
        large = torch.rand(shape, generator=draw) < LARGE
        values = (large + 1e-3) * torch.randn(shape, generator=draw)
        if site == LAYERS - 1:
            values[:, :, 1:] = 0
        attention = torch.rand(shape, generator=draw).softmax(-1)
        ends = torch.zeros(BATCH, dtype=torch.float64)
        cells = MethodValues(
            values=values,
            points=torch.full((BATCH,), 4),
            converged=torch.ones(BATCH, dtype=torch.bool),
            f0=ends,
            f1=ends + 0.5,
        )
        found.append(summarize(cells, attention, lengths, options))
    return found


@dataclass
class Passes(Device):
    """A device on which a batch takes its time, and whose values are made up."""

    shard_seconds: float = 60.0
    sites: list[SiteResult] = field(default_factory=made_up_sites)
    batches: dict[int, tuple[list[SiteResult], BatchCells]] = field(default_factory=dict)
    """By number of texts: what a GPU hands over, cells for trees included."""

    def batch(self, count: int, replay: Replay) -> tuple[list[SiteResult], BatchCells]:
        """Return the results of a batch of so many texts."""
        if count not in self.batches:
            results = [_part(site, count) for site in self.sites]
            lengths = torch.full((count,), TOKENS)
            cells = BatchCells.select([one.summed for one in results], lengths, replay.sites)
            self.batches[count] = results, cells
        return self.batches[count]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Compute nothing of a batch in this context; batches are those of a GPU."""
        device = self

        def attribute(call: _Call, replay: Replay, batch: Sequence[int], tick: Tick) -> HostPart:
            device.sleep(len(batch) * SECONDS)
            tick()
            count = len(batch)
            labels = torch.full((count,), 1)
            probabilities = torch.tensor([[0.1, 0.7, 0.2]]).expand(count, 3)
            results, cells = device.batch(count, replay)
            add = call.collector.add
            return partial(add, batch, results, cells, probabilities, labels, labels)

        with (
            patch.object(_Call, "attribute", attribute),
            patch.object(evaluator, "_CPU_TOKENS", 4 * BATCH * TOKENS),
            patch.object(cpu_parallel, "parallel_batches", lambda _: 1),
        ):
            yield


def _part(site: SiteResult, count: int) -> SiteResult:
    """The results of the first examples of a batch."""
    values: dict[str, Any] = {
        name: value[:count] if isinstance(value, Tensor) else value
        for name, value in vars(site).items()
    }
    return SiteResult(**values)
