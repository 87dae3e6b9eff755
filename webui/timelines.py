"""Small charts over time, drawn as SVG by the server: they need no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from jobs import formatting

WIDTH, HEIGHT = 360, 132
LEFT, RIGHT, TOP, BOTTOM = 54, 8, 10, 22
DAY = 86_400

Point = tuple[float, float | None]
"""The beginning of a step, in seconds since 1970, and the value in it; None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark of an axis."""

    place: float
    label: str
    at: int = 0
    """Of a time: seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A chart: its area as an SVG path, and its axes."""

    title: str
    summary: str
    """The same in words."""
    area: str
    """Open at the bottom, so that its outline is the line of the chart."""
    levels: tuple[Tick, ...]
    times: tuple[Tick, ...]
    by_day: bool
    """True if the times are days."""


def timeline(
    title: str,
    points: Sequence[Point],
    *,
    span: tuple[float, float],
    step: int,
    shown: Callable[[float], str] = formatting.number,
    tops: Sequence[float] = (),
) -> Timeline:
    """Draw the values of equal steps of time in `span`; nothing is drawn where one is unknown.

    shown: a value as text
    tops: ends of the axis to choose from, ascending; by default powers of ten and parts of them
    """
    known = [value for _, value in points if value is not None]
    top = _top(max(known, default=0), tops)
    since, until = span

    def x(at: float) -> float:
        share = (min(max(at, since), until) - since) / (until - since)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    area = []
    for run in _runs(points, step):
        area.append(f"M{x(run[0][0])} {y(0)}")
        # Equal values are one line.
        for value, equal in groupby(run, key=lambda point: y(point[1])):
            area.append(f"V{value}H{x(list(equal)[-1][0] + step)}")
        area.append(f"V{y(0)}")
    levels = tuple(Tick(place=y(part), label=shown(part)) for part in (0.0, top / 2, top))
    return Timeline(
        title=title,
        summary=_summary(known, shown),
        area="".join(area),
        levels=levels,
        times=tuple(Tick(place=x(at), label=_clock(at, span), at=at) for at in _times(span)),
        by_day=until - since > 2 * DAY,
    )


def _summary(known: Sequence[float], shown: Callable[[float], str]) -> str:
    if not known:
        return "Nothing was recorded in this time."
    return f"Most {shown(max(known))}, last {shown(known[-1])}."


def _runs(points: Sequence[Point], step: int) -> Iterator[list[tuple[float, float]]]:
    """Runs of steps without a gap, whose values are known."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if run and (value is None or at > run[-1][0] + step):
            yield run
            run = []
        if value is not None:
            run.append((at, value))
    if run:
        yield run


DURATIONS = (
    *(2.0, 10.0, 20.0, 60.0, 120.0, 600.0, 1_200.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0),
    *(86_400.0, 172_800.0, 864_000.0, 1_728_000.0),
)
"""Ends of an axis of seconds: the half of each is a short duration, too."""


def _top(value: float, tops: Sequence[float]) -> float:
    """The end of the axis: the next of `tops`, or of 1, 2, 4, 10, 20, 40, ..."""
    if value <= 0:
        return tops[0] if tops else 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    every = tops or [part * unit for part in (1, 2, 4, 10)]
    return next((top for top in every if top >= value * (1 - 1e-9)), value)


def _times(span: tuple[float, float]) -> range:
    """Four to eight round times within the span."""
    since, until = span
    length = until - since
    every = next(part for part in (3, 6, 24, 48, 168) if length / (part * 3600) <= 5.1) * 3600
    return range(math.ceil(since / every) * every, int(until) + 1, every)


def _clock(at: float, span: tuple[float, float]) -> str:
    form = "%d %b" if span[1] - span[0] > 2 * DAY else "%H:%M"
    return datetime.fromtimestamp(at, UTC).strftime(form)
