"""Counts of a part of the fuzzer, and their limits."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Report:
    """Counts of one part; `broken` describes each input that broke a limit."""

    part: str
    most: float = math.inf
    """Inputs after which the part ends, so that a short run asks the same on every machine."""
    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Ends of inputs: accepted, refused, by the kind of error, ..."""
    broken: list[str] = field(default_factory=list)
    """Escapes, faults of the server and hangs: what happened, and the input."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Largest memory of each kind of process, in MB."""
    notes: list[str] = field(default_factory=list)
    """Further lines: measurements without a limit."""

    def goes_on(self, until: float) -> bool:
        """Tell whether there is time and an input left."""
        return self.inputs < self.most and time.monotonic() < until

    def peak(self, process: str, megabytes: int) -> None:
        """Keep the larger of this and what was seen before."""
        self.peaks[process] = max(self.peaks.get(process, 0), megabytes)

    def lines(self) -> list[str]:
        """The report as text."""
        outcomes = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common(12))
        peaks = ", ".join(f"{name} {most} MB" for name, most in sorted(self.peaks.items()))
        return [
            f"{self.part}: {self.inputs} inputs, {len(self.broken)} broken",
            f"  {outcomes}",
            f"  peak memory: {peaks or 'not measured'}",
            *(f"  {one}" for one in self.notes),
            *(f"  BROKEN {one}" for one in self.broken[:20]),
        ]
