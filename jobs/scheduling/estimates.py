"""Ranges of time: of a job before it is submitted, and of what is left of a running one.

A range holds in eight of ten cases. That of a new job comes from jobs like it, as what their units
of cost took; that of a running job from the pieces of it that are done. Every time is one during
which workers hold shards of the job: it does not go on while the job is paused, or waits for a
worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import median, quantiles

from jobs.formatting import counted

RATE_WINDOW = 120.0
"""Length of the window, in seconds, that a running job's rate is measured over."""
LEAST_PIECES = 3
MOST_SPREAD = 3.0
"""A range whose ends differ by a larger factor says nothing, and is not shown."""
Z90 = 1.2815515594
"""90 % of a normal distribution lie below, 80 % within."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Seconds that hold in eight of ten cases, one too few and one too many."""

    low: float
    middle: float
    high: float


USUAL_SPREAD = 0.35
"""Standard deviation of the logarithm of what jobs alike take, before several of them are known:
one in ten takes more than half as long again."""
KNOWN_AS = 3.0
"""Jobs that the usual spread counts as."""
ENOUGH = 9
"""Jobs whose own quantiles hold in eight of ten cases: the next one is as likely to fall between
any two of them, or beyond one end."""
ALIKE = 1.5
"""The lengths of texts that are alike differ by this factor at most."""


@dataclass(frozen=True, kw_only=True)
class PastJob:
    """The time that a job took which has the same kind and shape as a new one."""

    unit_seconds: float
    """Seconds of computing per unit of cost, see `JobSpec.cost`."""
    start_seconds: float
    """The time each of its workers took besides: loading the model, storing results."""
    characters: float | None
    """Of an example's texts, on average; None if unknown."""
    settings: Mapping[str, object]
    """Facts that decide what a unit of cost takes, see `JobSpec.costly`."""


@dataclass(frozen=True, kw_only=True)
class Experience:
    """Times that jobs like a new one took."""

    unit: Range
    """Seconds of computing per unit of cost."""
    start_seconds: float
    jobs: int
    alike: str
    """In what those jobs are like the new one."""

    @property
    def basis(self) -> str:
        """The origin of the range, in words."""
        return (
            f"from {counted(self.jobs, 'job')} with {self.alike}; eight out of ten such jobs fall "
            "within this range"
        )


def experience(
    past: Sequence[PastJob], characters: float | None, settings: Mapping[str, object]
) -> Experience | None:
    """Learn from past jobs of the same kind and shape of model: from those that are most alike."""
    same = [job for job in past if job.settings == settings]
    close = [job for job in same if _alike(job.characters, characters)]
    for jobs, alike in (
        (close, "this model shape, text length and tolerance"),
        (same, "this model shape and tolerance"),
        (past, "this model shape"),
    ):
        if jobs:
            return Experience(
                unit=likely([job.unit_seconds for job in jobs]),
                start_seconds=median(job.start_seconds for job in jobs),
                jobs=len(jobs),
                alike=alike,
            )
    return None


def _alike(one: float | None, other: float | None) -> bool:
    if not one or not other:
        return False
    return 1 / ALIKE <= one / other <= ALIKE


def likely(seen: Sequence[float]) -> Range:
    """Predict the next of several positive numbers from those seen, in eight of ten cases.

    From nine on these are the quantiles of 10 and 90 % of what was seen, at places i / (n + 1).
    Below, the logarithms are taken to be normal, with a variance between that of those seen and
    the usual one, and the range is their prediction interval.
    """
    if len(seen) >= ENOUGH:
        deciles = quantiles(seen, n=10)
        return Range(low=deciles[0], middle=deciles[4], high=deciles[8])
    logs = [math.log(one) for one in seen]
    middle = fsum(logs) / len(logs)
    squares = fsum((one - middle) ** 2 for one in logs) + KNOWN_AS * USUAL_SPREAD**2
    freedom = len(logs) - 1 + KNOWN_AS
    spread = t90(freedom) * math.sqrt(squares / freedom * (1 + 1 / len(logs)))
    return Range(
        low=math.exp(middle - spread), middle=math.exp(middle), high=math.exp(middle + spread)
    )


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Sums over the pieces of a job that are done: examples that a worker computed at one go."""

    count: int = 0
    examples: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    """Of the seconds squared, each divided by the piece's examples."""


def remaining(pieces: Pieces, examples: int, workers: int) -> Range | None:
    """Predict how long so many more examples take with this number of workers.

    The seconds of a piece are taken to vary around a pace, with a variance that grows with its
    examples (a ratio estimate); the range is the prediction interval of what is left, which grows
    with what is left and shrinks with what is done. None before it says anything.
    """
    if pieces.count < LEAST_PIECES or examples <= 0 or workers <= 0:
        return None
    pace = pieces.seconds / pieces.examples
    freedom = pieces.count - 1
    variance = max(0.0, pieces.squares - pieces.seconds * pace) / freedom
    spread = t90(freedom) * math.sqrt(variance * examples * (1 + examples / pieces.examples))
    low, high = pace * examples - spread, pace * examples + spread
    if low <= 0 or high > MOST_SPREAD * low:
        return None
    return Range(low=low / workers, middle=pace * examples / workers, high=high / workers)


def t90(freedom: float) -> float:
    """Return the 90 % quantile of Student's distribution (Abramowitz and Stegun 26.7.5)."""
    z = Z90
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def recent_rate(
    attempts: Sequence[tuple[float, float | None, int | None]], now: float
) -> float | None:
    """Return the examples per second of all workers over the last RATE_WINDOW seconds.

    `attempts` holds start, end (None while running) and examples. Each counts by the share of its
    time that lies in the window, so that the rate does not jump when a shard ends. Time in which
    nothing ran does not count.
    """
    since = now - RATE_WINDOW
    spans = [(start, end or now, n or 0) for start, end, n in attempts]
    done = sum(
        n * (end - max(start, since)) / (end - start)
        for start, end, n in spans
        if end > max(start, since)
    )
    seconds = covered((max(start, since), end) for start, end, _ in spans)
    return done / seconds if done > 0 and seconds > 0 else None


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that lie in at least one of the spans."""
    total, until = 0.0, -math.inf
    for start, end in sorted(spans):
        if end > max(start, until):
            total += end - max(start, until)
            until = end
    return total
