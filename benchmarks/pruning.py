"""The cost of masked evaluations against plain forward passes, in one run.

    python -m benchmarks.pruning --model FOLDER --data FILE.jsonl --examples 96

Leaving each head out in turn, against as many plain passes as there are heads; and pruning curves
of 21 points in two directions for five rankings, one of them the Taylor importance and the others
random, against as many plain passes as there are different masks. The plain passes run in the
batches of the masked evaluation; their time is that of one round times their number. Everything
runs on one thread: the use of several threads is a separate question.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import headwise
from benchmarks.cost import PlainForward
from benchmarks.measure import timed
from headwise.attribution.cpu_parallel import torch_threads
from headwise.encoding import encode
from headwise.pruning.curve import curve_points
from headwise.pruning.importance import one_head_masks, random_importance, summarize, taylor
from headwise.pruning.masking import evaluate_masks
from headwise.replay import Replay

MAX_LENGTH = 128
RANDOM_DRAWS = 4


@dataclass(kw_only=True)
class Row:
    """One line: the number of different masks, and the best round's seconds for all examples."""

    name: str
    masks: NDArray[np.bool_]
    seconds: float = float("inf")


@dataclass(frozen=True, kw_only=True)
class Report:
    """plain: seconds of one plain forward pass of all examples."""

    rows: Sequence[Row]
    plain: float
    examples: int


def run(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[headwise.Text],
    *,
    repeats: int = 2,
    log: Callable[[str], object] = lambda _: None,
) -> Report:
    """Measure on one thread; every time is the best of ``repeats`` interleaved rounds."""
    with torch_threads(1):
        return _run(model, tokenizer, texts, repeats, log)


def _run(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[headwise.Text],
    repeats: int,
    log: Callable[[str], object],
) -> Report:
    encoded = encode(model, tokenizer, texts, MAX_LENGTH)
    plain = PlainForward(
        model=model,
        tokenizer=tokenizer,
        texts=texts,
        max_length=MAX_LENGTH,
        precision="float32",
    )
    with Replay(model) as replay:
        sites = replay.sites
    # Any label costs the same.
    labels = [0] * len(texts)
    rankings = [random_importance(sites, seed=0, draw=draw) for draw in range(RANDOM_DRAWS)]
    taken = summarize("taylor", taylor(model, None, encoded, labels))
    _, curves = curve_points({"taylor": taken, "random": rankings})
    rows = [
        Row(name="leave one head out", masks=one_head_masks(sites)),
        Row(name="curves: 21 points, 2 directions, 5 rankings", masks=curves),
    ]
    for number in range(repeats):
        log(f"round {number + 1} of {repeats}")
        for row in rows:
            plain.measure()
            work = partial(evaluate_masks, model, None, encoded, labels, row.masks)
            _, seconds = timed(model.device, work)
            row.seconds = min(row.seconds, seconds)
    return Report(rows=rows, plain=plain.seconds * len(texts), examples=len(texts))


def table(report: Report) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| | masks | seconds | as many plain forwards | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in report.rows:
        plain = report.plain * len(row.masks)
        lines.append(
            f"| {row.name} | {len(row.masks)} | {row.seconds:.1f} | {plain:.1f} "
            f"| {row.seconds / plain:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="folder or hub name of a classifier")
    parser.add_argument("--data", required=True, type=Path, help="JSON lines")
    parser.add_argument("--columns", default="premise,hypothesis", help="one or two text columns")
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    columns = arguments.columns.split(",")
    with arguments.data.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    # A stride, so that the examples do not all come from one source.
    lines = lines[:: max(1, len(lines) // arguments.examples)][: arguments.examples]
    texts = [tuple(line[column] for column in columns) for line in lines]
    loaded = headwise.load(arguments.model, device=arguments.device)
    report = run(
        loaded.model,
        loaded.tokenizer,
        [text[0] if len(text) == 1 else text for text in texts],
        repeats=arguments.repeats,
        log=lambda line: print(line, flush=True),
    )
    print(f"{report.examples} examples\n\n{table(report)}")


if __name__ == "__main__":
    main()
