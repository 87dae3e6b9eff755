"""The engine on a GPU: BERT-base's shape, a decoder of 7 billion parameters, and a worker's job.

    python -m benchmarks.gpu [--examples 256] [--repeats 3] [--parallel 1] [--model FOLDER]

Texts are random ids of 128 tokens each. Models are freshly initialised, unless one is given in
place of BERT-base's shape: the attributions of a trained model stand out more clearly from the
rounding of bf16, so that fewer points suffice. Only scores and the largest cells are kept, not the
matrices. The error of an example and layer is the L2 norm of the difference from Gauss-Legendre
points in float32, relative to their norm, over a few examples. *Device busy* is the share of a
batched run during which a kernel runs, or a copy, by torch's profiler. The token budget is the one
fitted to memory. With ``--parallel`` above 1, batches run in threads of their own on the same
stream: one launches kernels while the results of another are collected.

The job runs BERT-base's shape over the bundled pairs through scheduler, worker and SQLite, beside
one call of ``headwise.attribute``. Every line is printed as soon as it is known.

Without a CUDA device, the same steps run on the CPU with tiny models, which proves the script and
measures nothing. Exits with 0 if every target is met, 1 if one is missed, and 2 without a device.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
)

import headwise
from benchmarks.engine import EXACT_SMOOTH, bert_base, kept_matrices, relative_errors
from benchmarks.measure import PeakMemory, timed
from benchmarks.page import machine, say
from benchmarks.tiny import VOCABULARY, tiny_model
from headwise.attribution import cpu_parallel
from headwise.attribution.batches import budget_for
from headwise.options import Options

PAIRS = Path(__file__).parents[1] / "demo/pairs.jsonl"
BUSY = 0.9
"""Wanted share of the time during which the device computes."""
_BERT_VOCABULARY, _PAIRS = 30522, 288
_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}

Inputs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A precision with its tolerance.

    wanted: milliseconds per example in large batches, or None
    """

    precision: str
    rtol: float
    wanted: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model to measure, and its texts.

    compared: examples whose errors are measured, against the rule ``exact``
    traced: examples of the run that is profiled, a batch or two
    """

    name: str
    build: Callable[[], PreTrainedModel]
    settings: Sequence[Setting]
    examples: int
    tokens: int = 128
    repeats: int = 1
    compared: int = 4
    exact: str = EXACT_SMOOTH
    traced: int = 64


@dataclass(frozen=True, kw_only=True)
class Line:
    """Milliseconds per example in large batches and of one text alone; memory in bytes."""

    shape: str
    setting: Setting
    batched: float
    single: float
    busy: float
    points: float
    errors: NDArray[np.float64]
    memory: int

    def missed(self) -> list[str]:
        """Return the targets that this line misses, in words."""
        name, wanted = f"{self.shape}, {self.setting.precision}", self.setting.wanted
        if wanted is None:
            return []
        found = []
        if self.batched > wanted:
            found.append(f"{name}: {self.batched:.2f} ms per example, wanted {wanted:g}")
        if self.busy < BUSY:
            found.append(f"{name}: device busy {self.busy:.0%}, wanted {BUSY:.0%}")
        return found


def shapes(examples: int, repeats: int, model: str | None) -> list[Shape]:
    """The shapes for a GPU; the decoder takes a thousand times as long per example."""
    cuda = torch.device("cuda")

    def small() -> PreTrainedModel:
        return (
            headwise.load(model, device="cuda").model
            if model
            else bert_base(_BERT_VOCABULARY, 0, cuda)
        )

    return [
        Shape(
            name=model or "BERT-base's shape",
            build=small,
            settings=(
                Setting(precision="bf16", rtol=1e-2, wanted=3),
                Setting(precision="tf32", rtol=1e-3, wanted=8),
                Setting(precision="float32", rtol=1e-3),
            ),
            examples=examples,
            repeats=repeats,
        ),
        Shape(
            name="decoder, 7 billion parameters",
            build=partial(decoder, cuda),
            settings=(
                Setting(precision="bf16", rtol=1e-2),
                Setting(precision="tf32", rtol=1e-3),
            ),
            examples=16,
            compared=1,
            exact="gauss-legendre:8",
            traced=4,
        ),
    ]


def stand_ins() -> list[Shape]:
    """Tiny shapes that take every step on a CPU, which has no tf32."""
    settings = (Setting(precision="bf16", rtol=1e-2), Setting(precision="float32", rtol=1e-3))
    return [
        Shape(
            name=f"tiny {kind}",
            build=partial(_tiny, kind),
            settings=settings,
            examples=6,
            tokens=12,
            compared=2,
            traced=2,
        )
        for kind in ("bert", "llama")
    ]


def decoder(device: torch.device, **sizes: int) -> PreTrainedModel:
    """A freshly initialised Llama classifier; by default of 7 billion parameters, in float32."""
    config = LlamaConfig(num_labels=3, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    with device:
        model: PreTrainedModel = LlamaForSequenceClassification(config)
    return model.eval()


def _tiny(kind: str) -> PreTrainedModel:
    return tiny_model(kind).float()


def measure(shape: Shape, log: Callable[[Line], object]) -> list[Line]:
    """A line per setting of a shape; the best of the rounds for batches, the median for one text.

    log: called with every line as soon as it is known
    """
    model = shape.build()
    words = (min(1000, VOCABULARY // 2), model.config.vocab_size)
    ids = np.random.default_rng(0).integers(*words, (shape.examples, shape.tokens))
    inputs = [{"input_ids": row.tolist()} for row in ids]
    truth = headwise.attribute_encoded(
        model, inputs[: shape.compared], target=0, integration=shape.exact
    )
    lines = []
    for setting in shape.settings:
        lines.append(_line(shape, model, inputs, kept_matrices(truth), setting))
        log(lines[-1])
    say(f"{shape.name}: tokens in a pass: {budget_for(model, Options()).tokens}")
    return lines


def _line(
    shape: Shape,
    model: PreTrainedModel,
    inputs: Inputs,
    expected: Sequence[NDArray[np.float32]],
    setting: Setting,
) -> Line:
    def attribute(some: Inputs, matrices: bool = False) -> headwise.Attribution:
        return headwise.attribute_encoded(
            model,
            some,
            target=0,
            rtol=setting.rtol,
            precision=setting.precision,
            matrices=matrices,
        )

    # Also the warm-up of this precision's kernels.
    compared = kept_matrices(attribute(inputs[: len(expected)], matrices=True))
    batched = []
    with PeakMemory(model.device) as peak:
        for _ in range(shape.repeats):
            result, seconds = timed(model.device, lambda: attribute(inputs))
            batched.append(seconds / len(inputs))
    single = [
        timed(model.device, lambda: attribute(inputs[:1]))[1] for _ in range(4 * shape.repeats)
    ]
    return Line(
        shape=shape.name,
        setting=setting,
        batched=1e3 * min(batched),
        single=1e3 * statistics.median(single),
        busy=busy_share(model.device, lambda: attribute(inputs[: shape.traced])),
        points=float(result.points.mean()),
        errors=relative_errors(compared, expected),
        memory=peak.bytes,
    )


def busy_share(device: torch.device, work: Callable[[], object]) -> float:
    """Return the share of the work's time during which the device runs something."""
    cuda = device.type == "cuda"
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as profiled:
        _, seconds = timed(device, work)
    kind = "CUDA" if cuda else "CPU"
    events = (e for e in profiled.events() or () if e.device_type.name == kind)
    return covered(events) / (1e6 * seconds)


def covered(events: Iterable[FunctionEvent]) -> float:
    """Return the microseconds during which at least one of the events runs."""
    total, end = 0.0, -float("inf")
    for start, stop in sorted((e.time_range.start, e.time_range.end) for e in events):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def job(folder: Path, cuda: bool, examples: int) -> str:
    """Run a job through a worker into SQLite, beside one call, and return a line about it.

    Raises ImportError where packages of the server are missing, as the shapes need the library
    alone, and RuntimeError where the job fails or one of its processes ends.
    """
    from benchmarks import jobs

    *_, found = jobs.run(_folder_of_model(folder / "model", cuda), PAIRS, examples=[examples])
    return (
        f"job of {found.examples} pairs into SQLite: {found.job.seconds:.2f} s, one call "
        f"{found.engine.seconds:.2f} s, overhead {found.overhead:.1%}"
    )


def _folder_of_model(folder: Path, cuda: bool) -> Path:
    """Save BERT-base's shape, or a tiny one, with a tokenizer of the words of the pairs."""
    words = sorted(set(re.findall(r"\w+|[^\w\s]", PAIRS.read_text(encoding="utf-8").lower())))
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    numbered = {token: number for number, token in enumerate(vocabulary)}
    BertTokenizer(vocab=numbered, model_max_length=512).save_pretrained(folder)
    config = BertConfig(vocab_size=len(numbered), num_labels=3, **({} if cuda else _TINY))
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


HEAD = """\
| shape | precision | rtol | ms per example | wanted | ms, one text alone | device busy | wanted \
| mean points | median error | worst error | peak memory |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def row(x: Line) -> str:
    """A line of the Markdown table under ``HEAD``."""
    wanted = x.setting.wanted
    limits = ("", "") if wanted is None else (f"<= {wanted:g}", f">= {BUSY:.0%}")
    return (
        f"| {x.shape} | {x.setting.precision} | {x.setting.rtol:g} | {x.batched:.2f} | {limits[0]} "
        f"| {x.single:.1f} | {x.busy:.0%} | {limits[1]} | {x.points:.1f} "
        f"| {np.median(x.errors):.1e} | {x.errors.max():.1e} | {x.memory / 2**20:.0f} MiB |"
    )


def run(measured: Sequence[Shape], job_examples: int, parallel: int, cuda: bool) -> int:
    """Measure shapes, then the job; print lines as they come, and return the exit status."""
    say(f"{machine()}; {parallel} batches at a time\n\n{HEAD}")
    missed = []
    with patch.object(cpu_parallel, "parallel_batches", lambda _: parallel):
        for shape in measured:
            for line in measure(shape, lambda line: say(row(line))):
                missed += line.missed()
    try:
        with tempfile.TemporaryDirectory() as folder:
            say(job(Path(folder), cuda, job_examples))
    except (ImportError, RuntimeError) as error:
        missed.append(f"the job into SQLite: {error}")
    say("\n".join(f"missed: {text}" for text in missed) or "no target is missed")
    if not cuda:
        say("no time is judged: these are tiny models on a CPU")
        return 2
    return 1 if missed else 0


def main() -> int:
    """Measure on a GPU, or prove the script where there is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=1, help="batches at a time")
    parser.add_argument("--model", help="folder or hub name of a trained classifier")
    options = parser.parse_args()
    if options.parallel < 1:
        parser.error(f"--parallel must be at least 1, not {options.parallel}")
    if not torch.cuda.is_available():
        print("no CUDA device here: the steps run on the CPU with tiny models", file=sys.stderr)
        # Threads that share one small operator wait for each other on a busy machine.
        with cpu_parallel.torch_threads(1):
            return run(stand_ins(), 16, options.parallel, cuda=False)
    measured = shapes(options.examples, options.repeats, options.model)
    return run(measured, _PAIRS, options.parallel, cuda=True)


if __name__ == "__main__":
    sys.exit(main())
