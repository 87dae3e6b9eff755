"""Jobs or studies compared: what differs in their specifications, and their figures together.

A comparison has *sides*: jobs, or studies with their jobs. Everything here works on sides, so jobs
and studies are compared by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from db.database import Database
from scheduler.comparison.accuracy import quality_of
from scheduler.comparison.agreement import agreements, agreements_by_source
from scheduler.comparison.differences import differences, warnings
from scheduler.comparison.figures import (
    compared_rankings,
    default_ranking,
    figures_of_comparison,
)
from scheduler.comparison.sides import Side
from scheduler.findings import findings


def comparison_json(database: Database, sides: Sequence[Side]) -> dict[str, Any]:
    """A comparison for the API and commands, without the numbers of its figures."""
    ranked = compared_rankings(sides, default_ranking(sides))
    _, pairs = agreements(database, ranked)
    return {
        "sides": [_side_json(database, side) for side in sides],
        "warnings": warnings(sides),
        "differences": [
            {"field": one.field, "values": list(one.values)} for one in differences(sides)
        ],
        "agreements": [asdict(pair) for pair in pairs],
        "figures": figures_of_comparison(sides).json(database),
    }


def studies_comparison_json(database: Database, sides: Sequence[Side]) -> dict[str, Any]:
    """A comparison of two studies: as of jobs, with what they found and how far they agree."""
    agreeing = agreements_by_source(database, sides)
    return {
        **comparison_json(database, sides),
        "findings": {side.number: findings(database, side.steps) for side in sides},
        "correlations": [
            {"source": source, "title": title, "spearman": rho} for source, title, rho in agreeing
        ],
    }


def _side_json(database: Database, side: Side) -> dict[str, Any]:
    quality = quality_of(database, side)
    accuracy = quality.accuracy
    return {
        **{noun: side.number if side.noun == noun else None for noun in ("job", "study")},
        "title": side.title,
        "models": side.models,
        "data": side.data,
        "created_at": side.created_at,
        "accuracy": accuracy and accuracy.value,
        "accuracy_low": accuracy and accuracy.low,
        "accuracy_high": accuracy and accuracy.high,
        "accuracy_examples": accuracy and accuracy.n,
        "residual_median": quality.median,
        "residual_worst": quality.worst,
        "integration_points": quality.points,
    }
