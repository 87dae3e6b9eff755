"""Size and speed of models without half of their heads: ``python -m benchmarks.structure``.

The whole and the smaller model take turns on texts of 128 tokens; a row is the median of its runs.
Accuracy does not matter here, so the half is every second head, the attention of every second
layer, or random heads.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

import headwise
from benchmarks import engine
from benchmarks.page import machine, publish
from demo.model import build

LENGTH = 128
RUNS = {1: 15, 8: 5}
"""By texts in the batch."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model, without one half of its heads, in batches of one size."""

    model: str
    half: str
    comparison: headwise.Comparison


def halves(layers: int, heads: int) -> dict[str, NDArray[np.bool_]]:
    """Masks [layers, heads] that remove half of the heads."""
    every_second = np.zeros((layers, heads), dtype=bool)
    every_second[:, ::2] = True
    whole_layers = np.zeros((layers, heads), dtype=bool)
    whole_layers[::2] = True
    chosen = np.random.default_rng(0).permutation(layers * heads) < layers * heads // 2
    return {
        "every second head": every_second,
        "every second layer's": whole_layers,
        "at random": chosen.reshape(layers, heads),
    }


def run(
    models: dict[str, PreTrainedModel], runs: dict[int, int], log: Callable[[str], None] = print
) -> Iterator[Row]:
    """Measure every model, half and batch size."""
    for name, model in models.items():
        masks = halves(model.config.num_hidden_layers, model.config.num_attention_heads)
        for half, mask in masks.items():
            pruned = headwise.remove_heads(model, mask)
            for batch, count in runs.items():
                log(f"{name}, {half}, {batch} per batch")
                comparison = headwise.describe(
                    model, pruned, batch=batch, length=LENGTH, runs=count
                )
                yield Row(model=name, half=half, comparison=comparison)


def page(rows: list[Row]) -> str:
    """The table, in Markdown."""
    lines = [
        "| model | heads removed | texts per batch | parameters, million | of the attention "
        "| ms whole | ms smaller | times faster |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        found = row.comparison
        whole, smaller = (1e3 * seconds for seconds in found.seconds)
        lines.append(
            f"| {row.model} | {row.half} | {found.batch} | {_millions(found.parameters)} "
            f"| {_millions(found.attention_parameters)} | {whole:.1f} | {smaller:.1f} "
            f"| {found.speedup:.2f} |"
        )
    return "\n".join(lines)


def _millions(counts: tuple[int, int]) -> str:
    return " to ".join(f"{count / 1e6:.1f}" for count in counts)


def section(folder: Path, log: Callable[[str], None] = print) -> str:
    """The demo model and BERT-base's shape."""
    loaded = headwise.load(folder, device="cpu")
    tokenizer = loaded.tokenizer
    large = engine.bert_base(len(tokenizer), int(tokenizer.pad_token_id), torch.device("cpu"))
    models = {"demo model": loaded.model, "BERT-base's shape": large}
    rows = list(run(models, RUNS, log))
    return f"{machine(large.device)}; float32, {torch.get_num_threads()} threads\n\n{page(rows)}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish("structure", section(build(Path(folder) / "model")))


if __name__ == "__main__":
    main()
