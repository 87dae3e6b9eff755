"""Speed and error of ``headwise.attribute`` against the naive reference, in one run.

    python -m benchmarks.engine --model FOLDER --data FILE.jsonl --examples 96

The reference runs 20 left-Riemann points, one example at a time, padded to 128 tokens as the
paper's code does it, and not padded. The error of a pair (example, site) is the L2 norm over all
heads and cells of the difference to 128 Gauss-Legendre points, relative to their norm.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

import headwise
from benchmarks.reference import attribute_one
from headwise.loading import LoadedModel

PADDED_LENGTH = 128
RTOLS = (1e-2, 1e-3, 1e-4)
EXACT = "gauss-legendre:128"
T = TypeVar("T")

Matrices = Sequence[NDArray[np.float32]]


@dataclass(kw_only=True)
class Row:
    """One line of the table.

    seconds: per example; errors: relative, one per pair; points: mean per pair;
    memory: peak above what was in use before, bytes; within: share of pairs within rtol
    """

    name: str
    seconds: float = float("inf")
    errors: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    points: float = 20
    memory: int = 0
    within: float | None = None


class _PeakMemory:
    """Peak memory of a block: the GPU's if there is one, else the process's, by sampling."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self.bytes = 0

    def __enter__(self) -> _PeakMemory:
        gc.collect()
        if sys.platform == "linux":
            # What an earlier row freed must not hide what this one takes.
            ctypes.CDLL(None).malloc_trim(0)
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._base = torch.cuda.memory_allocated() if self._cuda else _resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._cuda and not self._stop.wait(0.005):
            self.bytes = max(self.bytes, _resident() - self._base)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._cuda:
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._base


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(
    model_dir: str | Path,
    texts: Sequence[headwise.Text],
    *,
    exact_examples: int = 12,
    repeats: int = 2,
    device: str = "auto",
    log: Callable[[str], object] = lambda _: None,
) -> list[Row]:
    """Measure; every row's time is the best of ``repeats`` interleaved rounds.

    The 128 points run on examples spread evenly over the texts' lengths, the reference on every
    second one of those.
    """
    loaded = headwise.load(model_dir, device=device)
    order = sorted(range(len(texts)), key=lambda i: len(_ids(loaded, texts[i])))
    chosen = _spread(order, exact_examples)
    few = [texts[i] for i in chosen[::2]]
    log(f"128 points on {len(chosen)} examples")
    exact = _matrices(_attribute(loaded, [texts[i] for i in chosen], 1e-2, EXACT))
    padded, plain = Row(name="reference, padded to 128"), Row(name="reference")
    ours = [Row(name=f"headwise, rtol {rtol:g}") for rtol in RTOLS]
    for number in range(repeats):
        log(f"round {number + 1} of {repeats}")
        for row, length in ((padded, PADDED_LENGTH), (plain, None)):
            plainly = partial(_reference, loaded, few, length)
            row.errors = _errors(_measure(row, len(few), loaded, plainly), exact[::2])
        for row, rtol in zip(ours, RTOLS, strict=True):
            work = partial(_attribute, loaded, texts, rtol)
            result = _measure(row, len(texts), loaded, work)
            matrices = _matrices(result)
            row.errors = _errors([matrices[i] for i in chosen], exact)
            row.points = float(result.points.mean())
            row.within = float((row.errors <= rtol).mean())
    return [padded, plain, *ours]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; the first two are what the ratios are against."""
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


def _ids(loaded: LoadedModel, text: headwise.Text) -> list[int]:
    parts = (text,) if isinstance(text, str) else text
    ids: list[int] = loaded.tokenizer(*parts, truncation=True, max_length=PADDED_LENGTH)[
        "input_ids"
    ]
    return ids


def _spread(order: Sequence[int], count: int) -> list[int]:
    """``count`` of them at the middles of equal parts."""
    count = min(count, len(order))
    return [order[int((i + 0.5) * len(order) / count)] for i in range(count)]


def _measure(row: Row, count: int, loaded: LoadedModel, work: Callable[[], T]) -> T:
    with _PeakMemory(loaded.device) as peak:
        start = time.perf_counter()
        result = work()
        row.seconds = min(row.seconds, (time.perf_counter() - start) / count)
    row.memory = max(row.memory, peak.bytes)
    return result


def _attribute(
    loaded: LoadedModel, texts: Sequence[headwise.Text], rtol: float, integration: str = "auto"
) -> headwise.Attribution:
    return headwise.attribute(
        loaded.model,
        loaded.tokenizer,
        texts,
        integration=integration,
        rtol=rtol,
        max_length=PADDED_LENGTH,
    )


def _matrices(result: headwise.Attribution) -> Matrices:
    assert result.matrices is not None
    return [matrices for matrices in result.matrices if matrices is not None]


def _reference(loaded: LoadedModel, texts: Sequence[headwise.Text], length: int | None) -> Matrices:
    results = []
    for text in texts:
        parts = (text,) if isinstance(text, str) else text
        inputs = loaded.tokenizer(
            *parts,
            truncation=True,
            max_length=PADDED_LENGTH,
            padding="max_length" if length else False,
            return_tensors="pt",
        ).to(loaded.device)
        reference = attribute_one(
            loaded.model, inputs, nodes=np.arange(20) / 20, weights=np.full(20, 1 / 20)
        )
        results.append(reference.attribution.astype(np.float32))
    return results


def _errors(results: Matrices, exact: Matrices) -> NDArray[np.float64]:
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
    arguments = parser.parse_args()
    columns = arguments.columns.split(",")
    with arguments.data.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    # A stride, so that the examples do not all come from one source.
    lines = lines[:: max(1, len(lines) // arguments.examples)][: arguments.examples]
    texts = [tuple(line[column] for column in columns) for line in lines]
    rows = run(
        arguments.model,
        [text[0] if len(text) == 1 else text for text in texts],
        exact_examples=arguments.exact_examples,
        repeats=arguments.repeats,
        device=arguments.device,
        log=lambda line: print(line, flush=True),
    )
    print(table(rows))


if __name__ == "__main__":
    main()
