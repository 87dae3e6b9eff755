"""BERT-base's shape on a GPU: large batches and the latency of one text, as a Markdown table.

    python -m benchmarks.gpu [--examples 256] [--repeats 3] [--parallel 1] [--model FOLDER]

Texts are random ids of 128 tokens each. The model is freshly initialised, unless one is given: the
attributions of a trained model stand out more clearly from the rounding of bf16, so that fewer
points suffice. Only scores and the largest cells are kept, not the matrices. The error of an
example and layer is the L2 norm of the difference from 32 Gauss-Legendre points in float32,
relative to their norm, over a few examples. With ``--parallel`` above 1, batches run in threads of
their own on the same stream: one launches kernels while the results of another are collected. The
token budget is the one fitted to memory.

Exits with status 2 if there is no CUDA device.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import PreTrainedModel

import headwise
from benchmarks.engine import EXACT_SMOOTH, bert_base, kept_matrices, relative_errors
from benchmarks.measure import PeakMemory, timed
from headwise.attribution import cpu_parallel
from headwise.attribution.batches import budget_for
from headwise.options import Options

_TOKENS, _VOCABULARY, _FIRST_WORD = 128, 30522, 1000
_COMPARED = 4
SETTINGS = (("bf16", 1e-2), ("tf32", 1e-3), ("float32", 1e-3))

Inputs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Milliseconds per example in large batches and of one text alone; memory in bytes."""

    precision: str
    rtol: float
    batched: float
    single: float
    points: float
    errors: NDArray[np.float64]
    memory: int


def measure(
    model: PreTrainedModel,
    inputs: Inputs,
    truth: headwise.Attribution,
    *,
    repeats: int,
    settings: Sequence[tuple[str, float]] = SETTINGS,
) -> list[Line]:
    """A line per setting; the best of the rounds for batches, the median for one text.

    truth: of the first examples, with matrices; settings: precisions, each with its rtol
    """
    return [_line(model, inputs, truth, precision, rtol, repeats) for precision, rtol in settings]


def _line(
    model: PreTrainedModel,
    inputs: Inputs,
    truth: headwise.Attribution,
    precision: str,
    rtol: float,
    repeats: int,
) -> Line:
    def attribute(some: Inputs, matrices: bool = False) -> headwise.Attribution:
        return headwise.attribute_encoded(
            model, some, target=0, rtol=rtol, precision=precision, matrices=matrices
        )

    expected = kept_matrices(truth)
    # Also the warm-up of this precision's kernels.
    compared = kept_matrices(attribute(inputs[: len(expected)], matrices=True))
    batched = []
    with PeakMemory(model.device) as peak:
        for _ in range(repeats):
            result, seconds = timed(model.device, lambda: attribute(inputs))
            batched.append(seconds / len(inputs))
    single = [timed(model.device, lambda: attribute(inputs[:1]))[1] for _ in range(4 * repeats)]
    return Line(
        precision=precision,
        rtol=rtol,
        batched=1e3 * min(batched),
        single=1e3 * statistics.median(single),
        points=float(result.points.mean()),
        errors=relative_errors(compared, expected),
        memory=peak.bytes,
    )


def table(lines: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [
        "| precision | rtol | ms per example | ms, one text alone | mean points "
        "| median error | worst error | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {x.precision} | {x.rtol:g} | {x.batched:.2f} | {x.single:.1f} | {x.points:.1f} "
        f"| {np.median(x.errors):.1e} | {x.errors.max():.1e} | {x.memory / 2**20:.0f} MiB |"
        for x in lines
    ]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=1, help="batches at a time")
    parser.add_argument("--model", help="folder or hub name of a trained classifier")
    options = parser.parse_args()
    if options.parallel < 1:
        parser.error(f"--parallel must be at least 1, not {options.parallel}")
    if not torch.cuda.is_available():
        print("no CUDA device here", file=sys.stderr)
        return 2
    if options.model:
        model = headwise.load(options.model, device="cuda").model
    else:
        model = bert_base(_VOCABULARY, 0, torch.device("cuda"))
    words = (_FIRST_WORD, model.config.vocab_size)
    ids = np.random.default_rng(0).integers(*words, (options.examples, _TOKENS))
    inputs = [{"input_ids": row.tolist()} for row in ids]
    truth = headwise.attribute_encoded(
        model, inputs[:_COMPARED], target=0, integration=EXACT_SMOOTH
    )
    with patch.object(cpu_parallel, "parallel_batches", lambda _: options.parallel):
        lines = measure(model, inputs, truth, repeats=options.repeats)
    print(
        f"{torch.cuda.get_device_name()}; torch {torch.__version__}, transformers "
        f"{transformers.__version__}; {options.examples} examples of {_TOKENS} tokens, "
        f"{options.parallel} batches at a time; tokens in a pass: "
        f"{budget_for(model, Options()).tokens}\n"
    )
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
