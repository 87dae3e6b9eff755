"""The amount that every site reads of each token, as JSON: SQL reads it, too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jobs.results.base import Floats


def to_json(values: Floats) -> str:
    """Write rows [site, token] as JSON, each in a unit of its own: 5 digits of its largest number.

    Half a million numbers of a shard are formatted: whole numbers take less time and space.
    """
    values = np.asarray(values, dtype=np.float64)
    largest = np.abs(values).max(axis=1, initial=0)
    units = np.floor(np.log10(np.where(largest > 0, largest, 1))).astype(int) - 4
    counts = np.rint(values * 10.0 ** -units[:, None]).astype(int)
    lines = zip(units.tolist(), counts.tolist(), strict=True)
    return "[" + ",".join([_line(unit, line) for unit, line in lines]) + "]"


def _line(unit: int, counts: Sequence[int]) -> str:
    return "[" + ",".join([f"%de{unit}"] * len(counts)) % tuple(counts) + "]"
