"""The effect of cutting the edges of attribution trees.

    python -m benchmarks.trees --model FOLDER --data FILE.jsonl [--columns premise,hypothesis]

Cuts each text's tree, and as many other cells in the same layers, out of the attention, and
compares the probabilities of the predicted class (``benchmarks.cutting``). The table is
printed and put into docs/explanation/benchmarks.md, under the name of the model's folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import headwise
from benchmarks.cutting import KINDS, CutResult, cut_experiment
from benchmarks.page import machine, publish
from headwise.encoding import Text
from headwise.trees import RULES, TAU, TAU_LAST

_MAX_LENGTH = 128


def main() -> None:
    """Measure, print, and rewrite the section of this model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trees")
    parser.add_argument("--model", type=Path, required=True, help="folder of a classifier")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines")
    parser.add_argument("--columns", default="premise,hypothesis", help="one or two text columns")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--root", choices=RULES, default="classifier")
    parser.add_argument("--tau", type=float, default=TAU)
    parser.add_argument("--tau-last", type=float, default=TAU_LAST)
    parser.add_argument("--draws", type=int, default=4, help="of random edges for each text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    loaded = headwise.load(str(options.model), device="cpu")
    found = cut_experiment(
        loaded.model,
        loaded.tokenizer,
        texts(options.data, options.columns.split(","), options.examples),
        root=options.root,
        tau=options.tau,
        tau_last=options.tau_last,
        draws=options.draws,
        seed=options.seed,
        max_length=_MAX_LENGTH,
    )
    about = (
        f"{options.model.name}, {options.data.stem}: root {options.root}, tau {options.tau:g} and "
        f"{options.tau_last:g}, {options.draws} draws, seed {options.seed}; {machine()}"
    )
    publish(f"trees of {options.model.name}", f"{about}\n\n{table(found)}")


def texts(data: Path, columns: Sequence[str], count: int) -> list[Text]:
    """Pick texts or pairs of a file at even intervals."""
    with data.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    chosen = rows[:: max(1, len(rows) // count)][:count]
    if len(columns) == 1:
        return [row[columns[0]] for row in chosen]
    first, second = columns
    return [(row[first], row[second]) for row in chosen]


def table(found: CutResult) -> str:
    """Mean changes with 95 % intervals, and the tree's paired differences to the others."""
    lines = [
        f"{len(found.edges)} texts, {found.edges.mean():.1f} edges on average, probability of the "
        f"predicted class {found.probability.mean():.3f}",
        "",
        "| cut | change of the probability | the tree's change less this one |",
        "| --- | ---: | ---: |",
    ]
    for kind in KINDS:
        difference = "" if kind == "tree" else _interval(*found.difference(kind))
        lines.append(f"| {kind} | {_interval(*found.mean(kind))} | {difference} |")
    return "\n".join(lines)


def _interval(mean: float, half: float) -> str:
    return f"{mean:+.3f} ± {half:.3f}".replace("-", "−")


if __name__ == "__main__":
    main()
