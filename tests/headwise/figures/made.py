"""One figure of each kind, of numbers that are easy to find again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from headwise.figures import (
    Measure,
    Source,
    Table,
    VegaFigure,
    bump,
    completeness,
    curves_of_jobs,
    draw_table,
    head_matrix,
    heat_map,
    histogram,
    history,
    propose,
    pruning_curves,
    qualities,
    scatter,
    trigger_results,
    triggers_of_jobs,
)

SOURCE = Source(
    model="classifier",
    data="pairs.jsonl",
    examples=1234,
    rtol=0.01,
    job=5,
    result_hash="0123456789abcdef" * 4,
)
ACCURACY = Measure(name="accuracy", title="Accuracy", share=True)
REMOVED = Measure(name="share", title="Heads removed", share=True)
TOTAL = Measure(name="mean_total", title="Total", unit="probability", meaning="mean of the sum")


def heads(sign: int = -1) -> list[dict[str, Any]]:
    """Six heads; the numbers of odd ones have a sign."""
    return [
        {
            "layer": layer,
            "head": head,
            "attention_type": "encoder" if layer else "cross",
            "mean_total": sign ** (layer + head) * (0.125 + layer + head / 8),
            "mean_total_low": -4.5,
            "mean_total_high": None if layer else 4.25,
            "rank": 1 + 3 * layer + head,
        }
        for layer in range(2)
        for head in range(3)
    ]


def curve() -> list[dict[str, Any]]:
    """Two rankings in two orders, and random ones."""
    lines = [("AttAttr", "least"), ("AttAttr", "most"), ("Taylor", "least"), ("Random", "any")]
    return [
        {
            "ranking": ranking,
            "direction": direction,
            "share": step / 4,
            "removed": step,
            "accuracy": 0.875 - step / 8,
            "accuracy_low": 0.8125 - step / 8,
            "accuracy_high": 0.9375 - step / 8,
        }
        for ranking, direction in lines
        for step in range(5)
    ]


def triggers() -> list[dict[str, Any]]:
    """Three triggers; the last is a control without an interval."""
    return [
        {"number": 4, "trigger": 'not "never" <b>', "kind": "mined", "n": 30, "success": 0.9375}
        | {"success_low": 0.875, "success_high": 1.0},
        {"number": 2, "trigger": "nobody", "kind": "mined", "n": 30, "success": 0.8125}
        | {"success_low": 0.75, "success_high": 0.875},
        {"number": 3, "trigger": "nobody", "kind": "random control", "n": 30, "success": 0.125},
    ]


def ranked() -> list[dict[str, Any]]:
    """Twelve heads by two rankings, the second backwards."""
    return [
        {"name": f"L0 H{head}", "ranking": ranking, "rank": rank}
        | {"rank_low": max(1, rank - 1), "rank_high": rank + 1}
        for ranking, ranks in (("one", range(1, 13)), ("other", range(12, 0, -1)))
        for head, rank in enumerate(ranks)
    ]


def named(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The rows with longer names."""
    return [{**row, key: f"{row[key]} of a nightly_run-of mnli"} for row in rows]


def in_jobs(rows: list[dict[str, Any]], key: str = "panel") -> list[dict[str, Any]]:
    """The rows twice, as those of two jobs; the second one's numbers are half as large."""
    return [
        {
            **{
                name: value / half if isinstance(value, float) else value
                for name, value in one.items()
            },
            key: f"job {half}",
        }
        for half in (1, 2)
        for one in rows
    ]


def accuracies() -> list[dict[str, Any]]:
    """Two jobs, one without labels enough for an interval."""
    return [
        {"job": "job 1", "accuracy": 0.75, "accuracy_low": 0.625, "accuracy_high": 0.8125, "n": 48},
        {"job": "job 2", "accuracy": 0.5, "accuracy_low": None, "accuracy_high": None, "n": 2},
    ]


def points() -> list[dict[str, Any]]:
    """Twelve heads with two measures, one of which has intervals."""
    return [
        {"name": f"L0 H{n}", "one": n / 8, "other": n * n, "one_low": 0.0, "one_high": n / 4}
        for n in range(12)
    ]


def residuals() -> list[dict[str, Any]]:
    """Two layers; a median of zero."""
    return [
        {"site": "L0", "median": 0.0, "p95": 0.0009765625, "worst": 0.015625, "points": 8.0},
        {"site": "L1", "median": 2**-20, "p95": 2**-12, "worst": 2**-8, "points": 9.5},
    ]


CURVE_TABLE = Table(
    columns=("source", "share", "accuracy"),
    types=("text", "real", "real"),
    rows=[(source, n / 4, 0.9 - n / 8) for source in ("taylor", "attattr") for n in range(3)],
)
FIGURES: dict[str, Callable[[], VegaFigure]] = {
    "heat map": lambda: heat_map(heads(), TOTAL, [SOURCE]),
    "unsigned heat map": lambda: heat_map(heads(1), TOTAL, [SOURCE]),
    "histogram": lambda: histogram(
        [{"low": n / 8, "high": (n + 1) / 8, "count": 10 - n} for n in range(4)],
        Measure(name="score", title="Score"),
        "Score of L3 H7",
        [SOURCE],
    ),
    "completeness": lambda: completeness(residuals(), [SOURCE]),
    "curves": lambda: pruning_curves(curve(), ACCURACY, REMOVED, [SOURCE]),
    "triggers": lambda: trigger_results(triggers(), "entailment", [SOURCE]),
    "triggers of jobs": lambda: triggers_of_jobs(
        in_jobs(triggers(), "job"), "entailment", [SOURCE]
    ),
    "scatter": lambda: scatter(
        points(),
        Measure(name="one", title="One"),
        Measure(name="other", title="Other"),
        [SOURCE, Source(job=6)],
    ),
    "bump": lambda: bump(ranked(), [SOURCE]),
    "bump of long names": lambda: bump(
        [{**row, "ranking": f"Loss without {row['ranking']}, job 6"} for row in ranked()], [SOURCE]
    ),
    "heat maps": lambda: heat_map(in_jobs(heads()), TOTAL, [SOURCE]),
    "completeness of jobs": lambda: completeness(in_jobs(residuals()), [SOURCE]),
    "curves of jobs": lambda: curves_of_jobs(in_jobs(curve(), "job"), ACCURACY, REMOVED, [SOURCE]),
    "history": lambda: history(
        [{"at": at * 600, "rate": at / 4} for at in (0, 1, 2, 5)],
        Measure(name="rate", title="Examples per second"),
        600,
        [SOURCE],
    ),
    "history of queues": lambda: history(
        [
            {"queue": queue, "at": at * 600, "rate": at / 4}
            for queue in ("default", "gpu-a100")
            for at in (0, 1, 2, 5)
        ],
        Measure(name="rate", title="Examples per second"),
        600,
        [SOURCE],
    ),
    "triggers of long names": lambda: trigger_results(
        named(triggers(), "trigger"), "entailment", [SOURCE]
    ),
    "triggers of jobs of long names": lambda: triggers_of_jobs(
        named(in_jobs(triggers(), "job"), "job"), "entailment", [SOURCE]
    ),
    "qualities": lambda: qualities(accuracies(), ACCURACY, [SOURCE]),
    "qualities of long names": lambda: qualities(named(accuracies(), "job"), ACCURACY, [SOURCE]),
    "matrix": lambda: head_matrix(
        [[0.25, 0.75], [0.5, 0.5]],
        [[0.125, -0.25], [0.0, 0.0625]],
        ["cat", 'a "quoted" </script> token'],
        "L3 H7 on example 4",
        [SOURCE],
        unit="probability",
    ),
    **{
        f"table as {kind}": partial(draw_table, CURVE_TABLE, chart, "", [SOURCE])
        for kind, chart in propose(CURVE_TABLE).items()
    },
}
EMPTY: dict[str, Callable[[], VegaFigure]] = {
    "heat map": lambda: heat_map([], TOTAL),
    "completeness": lambda: completeness([]),
    "curves": lambda: pruning_curves([], ACCURACY, REMOVED),
    "curves of jobs": lambda: curves_of_jobs([], ACCURACY, REMOVED),
    "history": lambda: history([], Measure(name="rate", title="Rate"), 600),
    "qualities": lambda: qualities([], ACCURACY),
    "triggers": lambda: trigger_results([], "entailment"),
    "triggers of jobs": lambda: triggers_of_jobs([], "entailment"),
    "scatter": lambda: scatter(
        [], Measure(name="one", title="One"), Measure(name="other", title="Other")
    ),
}
