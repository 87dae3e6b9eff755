"""Architectures of transformers that the engine supports, and its accuracy on them.

    python -m benchmarks.architectures

tries a tiny random model of every class that transformers lists as a sequence classifier,
compares it in double precision with the naive reference and writes
docs/reference/architectures.md. It needs no network and writes the same page every time.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel
from transformers.utils import logging

import headwise
from benchmarks.reference import Reference, attribute_one
from benchmarks.tiny import END, FIRST_TOKEN, VOCABULARY, classifiers, tiny_model
from headwise.attribution.quadrature import Rule, gauss_legendre
from headwise.errors import FAILURES
from headwise.models.families import reason_against

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "architectures.md"
LENGTHS = (20, 18)  # near enough to share a batch, with padding
_POINTS, _MANY_POINTS = 8, 32
_MAX_PARAMETERS = 5_000_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result for one model type.

    sites: the number of each kind; empty if refused
    residual: largest completeness residual, relative to the largest |F(1) - F(0)|
    difference: largest difference of a cell from the reference, relative to the largest cell
    reason: the reason for refusing it
    """

    kind: str
    sites: dict[str, int]
    residual: float = 0.0
    difference: float = 0.0
    reason: str = ""


def examples() -> list[dict[str, np.ndarray]]:
    """Two random texts of different lengths that end with the end-of-text token."""
    generator = np.random.default_rng(0)
    texts = [generator.integers(FIRST_TOKEN, VOCABULARY, n) for n in LENGTHS]
    for text in texts:
        text[-1] = END
    return [{"input_ids": text} for text in texts]


def reference(model: PreTrainedModel, ids: np.ndarray, rule: Rule) -> Reference:
    """The naive result of one text."""
    text = torch.as_tensor(ids)[None]
    inputs = {"input_ids": text, "attention_mask": torch.ones_like(text)}
    options: dict[str, Any] = {"nodes": rule.nodes, "weights": rule.weights, "share": False}
    try:
        return attribute_one(model, inputs, **options)
    except FAILURES:
        return attribute_one(model, inputs, **options, written_out=True)


def compare(model: PreTrainedModel) -> tuple[headwise.Attribution, float]:
    """The result for two texts in one batch, and its largest relative difference."""
    texts, rule = examples(), gauss_legendre(_POINTS)
    result = headwise.attribute_encoded(model, texts, integration=f"gauss-legendre:{_POINTS}")
    assert result.matrices is not None
    worst = 0.0
    for cells, text in zip(result.matrices, texts, strict=True):
        if cells is None:
            return result, float("nan")
        want = reference(model, text["input_ids"], rule).attribution
        if want.shape != cells.shape:
            return result, float("nan")
        worst = max(worst, float(np.abs(cells - want).max() / np.abs(want).max()))
    return result, worst


def examine(kind: str) -> Finding:
    """Try one model type."""
    why = reason_against(kind)
    try:
        model = tiny_model(kind, _MAX_PARAMETERS)
    except Exception as error:  # noqa: BLE001 - a configuration may raise anything
        return Finding(kind=kind, sites={}, reason=why or f"not tried: {_reason(error)}")
    try:
        result, difference = compare(model)
        many = headwise.attribute_encoded(
            model, examples(), integration=f"gauss-legendre:{_MANY_POINTS}"
        )
    except headwise.UnsupportedModelError as error:
        return Finding(kind=kind, sites={}, reason=why or _reason(error))
    sites = [site.attention_type for site in result.sites]
    return Finding(
        kind=kind,
        sites={each: sites.count(each) for each in dict.fromkeys(sites)},
        residual=float(np.abs(many.residual).max() / np.abs(many.f1 - many.f0).max()),
        difference=difference,
    )


def _reason(error: Exception) -> str:
    lines = (str(error) or type(error).__name__).splitlines()
    reason = " ".join(line.strip() for line in lines).split("is not supported: ")[-1]
    short = reason if len(reason) <= 120 else reason[:117] + "..."
    return short.replace("|", "/")


def page(findings: list[Finding]) -> str:
    """The page, in Markdown."""
    working = [f for f in findings if f.sites and f.difference < 1e-6]
    rows = [
        f"| `{f.kind}` | {', '.join(f'{n} {kind}' for kind, n in f.sites.items())} "
        f"| {_power(f.residual)} | {_power(f.difference)} |"
        for f in working
    ]
    refused = [
        f"| `{f.kind}` | {f.reason or f'differs from the reference by {f.difference:.0e}'} |"
        for f in findings
        if f not in working
    ]
    return _ENGINE.format(
        version=transformers.__version__,
        count=len(working),
        total=len(findings),
        points=_POINTS,
        many=_MANY_POINTS,
        working="\n".join(rows),
        refused="\n".join(refused),
    )


def _power(value: float) -> str:
    """Order of magnitude, which is the same on every machine."""
    return "< 1e-10" if value < 1e-10 else f"< 1e{int(np.ceil(np.log10(value * 1.000001)))}"


def write_jobs(taken: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Write the table of jobs into the page.

    taken: by model type, the tokenizer that it was tried with, and the formats of its exports
    """
    rows = [
        f"| `{kind}` | {tokenizer} | {', '.join(formats) or 'none'} |"
        for kind, (tokenizer, formats) in taken.items()
    ]
    _write(jobs=_JOBS.format(rows="\n".join(rows)))


def _write(*, engine: str = "", jobs: str = "") -> None:
    """Write one of the page's two parts, and keep the other."""
    before, mark, after = PAGE.read_text(encoding="utf-8").partition(_MARK)
    PAGE.write_text((engine or before) + (jobs or mark + after), encoding="utf-8")


_MARK = "\n## Jobs\n"
_JOBS = (
    _MARK
    + """
Library and jobs share one list (`headwise/models/families.py`): jobs take every type above, except
those that cannot be computed from texts, and refuse the others when they are submitted, with the
reason. BigBird is computed with full attention, as transformers itself does from the first text of
at most 704 tokens on.

`make zoo` takes a tiny random model of each type, in single precision, with a tokenizer of its
family's kind, on pairs and on single texts, through `submit`, plan, worker and database to pruning
and `headwise prune`, and reads what it wrote in plain transformers. It fails where the stored
scores differ from the library's by more than 1e-5 of the largest, these from a naive computation
in double precision by more than 1e-4, or the loss and the logits of an export, one text at a time,
from those of the job without the heads by more than 1e-4.

*Exports*: what half of the heads less can be written as; ONNX was tried for a few types. Heads
cannot be removed unevenly where layers share a module or its weights (ALBERT, DiffLlama, Zamba),
nor at all where experts mix them (JetMoE) or the layers around attention are no linear ones
(I-BERT). A smaller model needs that nothing else is made per head: no biases (T5, MPNet, Bloom,
DeBERTa), gates (Qwen 3.5) or norms over all heads (OLMo 3).

| model type | tokenizer | exports |
|---|---|---|
{rows}
"""
)

_ENGINE = """# Architectures

The engine does not rely on the name of a model's architecture. It finds attention by watching the
model run, and accepts a model only if a numerical check on random token ids passes; see
`headwise/replay/selfcheck.py`. This page, written by `python -m benchmarks.architectures`, shows
the result: of the {total} model types that transformers {version} lists as sequence classifiers,
{count} work.

Each was tried as a tiny random model in double precision, with two texts of different lengths in
one batch.

*Residual* is the sum of the attribution minus (F(1) - F(0)), with `gauss-legendre:{many}`,
relative to the largest F(1) - F(0). It shows how accurate {many} points are on a random model, not
whether the model is computed correctly; the difference shows that. Mixtures of experts select
experts discontinuously, and no number of points integrates such steps exactly. Where a norm
directly follows the output projection (Gemma 2 and 3, GLM-4, OLMo 2 and 3, EXAONE 4), scaling the
attention changes nothing until it is nearly zero: Gemma 2 needed 256 points for a residual of
4e-7, GLM-4 2,048. A random MobileBERT, which does not normalise, saturates. `auto` reports such
pairs as not converged.

*Difference* is the largest difference of a cell from a naive computation with full attention
matrices, relative to the largest cell, with {points} points in both. Results are stored in single
precision, which limits it to about 1e-7.

| model type | sites (two layers) | residual | difference |
|---|---|---|---|
{working}

## Refused

A model of one of these types is refused, with the reason given, before anything is computed.

| model type | reason |
|---|---|
{refused}
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    findings = []
    for kind in classifiers():
        findings.append(examine(kind))
        print(findings[-1], flush=True)
    _write(engine=page(findings))


if __name__ == "__main__":
    main()
