"""Speed, error and cost of ``headwise.attribute`` against other implementations, in one run.

    python -m benchmarks.engine --model FOLDER --data FILE.jsonl --examples 96

The others run 20 left Riemann points, one example and attention module at a time: the naive
reference, padded to 128 tokens as the paper's code does it, and not padded, and Captum, not
padded. The error of a pair (example, site) is the L2 norm over all heads and cells of the
difference from many Gauss-Legendre points, relative to their norm.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    BatchEncoding,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import headwise
from benchmarks import cost
from benchmarks.cost import Cost, PlainForward, Shape, matrix_rate, needed_flops
from benchmarks.measure import PeakMemory, T, timed
from benchmarks.peers import STEPS, captum_one
from benchmarks.reference import attribute_one
from headwise.precision import PRECISIONS

PADDED_LENGTH = 128
RTOLS = (1e-2, 1e-3, 1e-4)
PRICED = RTOLS[:2]
EXACT = "gauss-legendre:128"
EXACT_SMOOTH = "gauss-legendre:32"
"""Enough for a freshly initialised model, whose paths are smooth."""

Matrices = Sequence[NDArray[np.float32]]


@dataclass(kw_only=True)
class Row:
    """One line of the table.

    seconds: per example; errors: relative, one per pair; points: mean per pair;
    memory: peak above what was in use before, bytes; within: share of pairs within rtol;
    flops: needed per example, see ``benchmarks.cost``
    """

    name: str
    seconds: float = float("inf")
    errors: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    points: float = STEPS
    memory: int = 0
    within: float | None = None
    flops: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows, the costs (the plain forward pass first), and the machine's FLOPs per second.

    lengths: tokens of every text
    """

    rows: Sequence[Row]
    costs: Sequence[Cost]
    rate: float
    lengths: NDArray[np.int64]
    precision: str
    on_cpu: bool


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Settings of all rows; ``precision`` is that of the engine and the plain forward pass."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Sequence[headwise.Text]
    precision: str = "float32"

    def measure(self, row: Row, count: int, work: Callable[[], T]) -> T:
        """Update the best time and the peak memory from a run over the given number of examples."""
        with PeakMemory(self.model.device) as peak:
            result, seconds = timed(self.model.device, work)
        row.seconds = min(row.seconds, seconds / count)
        row.memory = max(row.memory, peak.bytes)
        return result

    def attribute(
        self, texts: Sequence[headwise.Text], rtol: float = 1e-2, integration: str = "auto"
    ) -> headwise.Attribution:
        return headwise.attribute(
            self.model,
            self.tokenizer,
            texts,
            integration=integration,
            rtol=rtol,
            max_length=PADDED_LENGTH,
            # What the others are compared with is never lowered.
            precision=self.precision if integration == "auto" else "float32",
        )

    def one_by_one(
        self,
        texts: Sequence[headwise.Text],
        attribute: Callable[[PreTrainedModel, BatchEncoding], NDArray[np.float32]],
        padded: bool = False,
    ) -> Matrices:
        """Attribute text by text."""
        results: list[NDArray[np.float32]] = []
        for text in texts:
            parts = (text,) if isinstance(text, str) else text
            inputs = self.tokenizer(
                *parts,
                truncation=True,
                max_length=PADDED_LENGTH,
                padding="max_length" if padded else False,
                return_tensors="pt",
            ).to(self.model.device)
            results.append(attribute(self.model, inputs))
        return results


def run(
    setting: Setting,
    *,
    exact_examples: int = 12,
    exact: str = EXACT,
    repeats: int = 2,
    log: Callable[[str], object] = lambda _: None,
) -> Report:
    """Measure; every time is the best of ``repeats`` interleaved rounds.

    The exact points run on examples spread evenly over the texts' lengths, the reference and
    Captum on every second one of those.
    """
    shape, device, texts = Shape.of(setting.model), setting.model.device, setting.texts
    plain = PlainForward(
        model=setting.model,
        tokenizer=setting.tokenizer,
        texts=texts,
        max_length=PADDED_LENGTH,
        precision=setting.precision,
    )
    chosen = _spread(np.argsort(plain.lengths, kind="stable").tolist(), exact_examples)
    log(f"{exact} on {len(chosen)} examples")
    truth = kept_matrices(setting.attribute([texts[i] for i in chosen], integration=exact))
    suffix = "" if setting.precision == "float32" else f", {setting.precision}"
    others = [Row(name=name) for name in _OTHERS]
    ours = [Row(name=f"headwise, rtol {rtol:g}{suffix}") for rtol in RTOLS]
    rate = 0.0
    for number in range(repeats):
        log(f"round {number + 1} of {repeats}")
        for row in others:
            _measure_other(setting, row, [texts[i] for i in chosen[::2]], truth[::2])
        for row, rtol in zip(ours, RTOLS, strict=True):
            result = _measure_ours(setting, row, rtol, chosen, truth)
            row.flops = needed_flops(shape, plain.lengths, result.points) / len(texts)
        plain.measure()
        rate = max(rate, matrix_rate(shape, device, setting.precision))
    return Report(
        rows=[*others, *ours],
        costs=_costs(shape, plain, ours),
        rate=rate,
        lengths=plain.lengths,
        precision=setting.precision,
        on_cpu=device.type == "cpu",
    )


def _measure_other(
    setting: Setting, row: Row, texts: Sequence[headwise.Text], truth: Matrices
) -> None:
    attribute, padded = _OTHERS[row.name]
    work = partial(setting.one_by_one, texts, attribute, padded)
    row.errors = relative_errors(setting.measure(row, len(texts), work), truth)


def _measure_ours(
    setting: Setting, row: Row, rtol: float, chosen: Sequence[int], truth: Matrices
) -> headwise.Attribution:
    texts = setting.texts
    result = setting.measure(row, len(texts), partial(setting.attribute, texts, rtol))
    matrices = kept_matrices(result)
    row.errors = relative_errors([matrices[i] for i in chosen], truth)
    row.points = float(result.points.mean())
    row.within = float((row.errors <= rtol).mean())
    return result


def _costs(shape: Shape, plain: PlainForward, ours: Sequence[Row]) -> list[Cost]:
    forward = cost.forward_flops(shape, plain.lengths) / len(plain.lengths)
    priced = [row for row, rtol in zip(ours, RTOLS, strict=True) if rtol in PRICED]
    return [
        Cost(name="plain forward pass", seconds=plain.seconds, flops=forward),
        *(Cost(name=row.name, seconds=row.seconds, flops=row.flops or 0) for row in priced),
    ]


def _reference(model: PreTrainedModel, inputs: BatchEncoding) -> NDArray[np.float32]:
    result = attribute_one(
        model, inputs, nodes=np.arange(STEPS) / STEPS, weights=np.full(STEPS, 1 / STEPS)
    )
    return result.attribution.astype(np.float32)


# How each runs on one example, and whether that is padded; ratios are against the first two.
_OTHERS = {
    "reference, padded to 128": (_reference, True),
    "reference": (_reference, False),
    "Captum, integrated gradients": (captum_one, False),
}


def bert_base(vocabulary: int, padding: int, device: torch.device) -> PreTrainedModel:
    """A freshly initialised classifier of BERT-base's shape for three classes.

    vocabulary: number of tokens; padding: the id of the padding token
    """
    config = BertConfig(vocab_size=vocabulary, num_labels=3, pad_token_id=padding)
    torch.manual_seed(0)
    model: PreTrainedModel = BertForSequenceClassification(config).to(device).eval()
    return model


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; the ratios are against the first two."""
    lines = [
        "| | examples/s | x padded | x unpadded | median error | worst error | mean points "
        "| pairs within rtol | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        within = "" if row.within is None else f"{100 * row.within:.1f} %"
        lines.append(
            f"| {row.name} | {1 / row.seconds:.2f} | {rows[0].seconds / row.seconds:.1f} "
            f"| {rows[1].seconds / row.seconds:.1f} | {np.median(row.errors):.1e} "
            f"| {row.errors.max():.1e} | {row.points:.1f} | {within} "
            f"| {row.memory / 2**20:.0f} MiB |"
        )
    return "\n".join(lines)


def page(report: Report) -> str:
    """Both tables of one model."""
    threads = f" with {torch.get_num_threads()} threads" if report.on_cpu else ""
    return "\n\n".join(
        [
            table(report.rows),
            "What one attribution costs. The machine's rate, of a matrix product in "
            f"{report.precision}{threads}, was {report.rate / 1e9:.0f} GFLOP/s.",
            cost.table(report.costs, report.rate),
        ]
    )


def _spread(order: Sequence[int], count: int) -> list[int]:
    """Return the middle elements of ``count`` equal parts."""
    count = min(count, len(order))
    return [order[int((i + 0.5) * len(order) / count)] for i in range(count)]


def kept_matrices(result: headwise.Attribution) -> Matrices:
    """The matrices of all examples that did not fail."""
    assert result.matrices is not None
    return [matrices for matrices in result.matrices if matrices is not None]


def relative_errors(results: Matrices, exact: Matrices) -> NDArray[np.float64]:
    """Relative error of every pair (example, site); the cells of padding are zero."""
    pairs = [
        np.linalg.norm(site[:, :n, :n] - exact_site) / np.linalg.norm(exact_site)
        for result, reference in zip(results, exact, strict=True)
        for site, exact_site in zip(result, reference, strict=True)
        for n in [exact_site.shape[-1]]
    ]
    return np.array(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="folder or hub name of a classifier")
    parser.add_argument("--data", required=True, type=Path, help="JSON lines")
    parser.add_argument("--columns", default="premise,hypothesis", help="one or two text columns")
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--exact-examples", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    arguments = parser.parse_args()
    columns = arguments.columns.split(",")
    with arguments.data.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    # A stride, so that the examples do not all come from one source.
    lines = lines[:: max(1, len(lines) // arguments.examples)][: arguments.examples]
    texts = [tuple(line[column] for column in columns) for line in lines]
    loaded = headwise.load(arguments.model, device=arguments.device)
    setting = Setting(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        texts=[text[0] if len(text) == 1 else text for text in texts],
        precision=arguments.precision,
    )
    report = run(
        setting,
        exact_examples=arguments.exact_examples,
        repeats=arguments.repeats,
        log=lambda line: print(line, flush=True),
    )
    print(page(report))


if __name__ == "__main__":
    main()
