"""The tables of docs/explanation/scale.md."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.page import machine
from benchmarks.scale_arrays import QUESTIONS, Variant
from benchmarks.scale_data import PER_SHARD, Load
from benchmarks.scale_device import Row as DeviceRow
from benchmarks.scale_fleet import Report
from benchmarks.scale_pages import Timing
from benchmarks.scale_workers import Pair


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Measurements of one database with many head scores."""

    database: str
    big: Load
    whole_bytes: int
    """Of the database, when it has the large job alone."""
    deleted: Load
    """The job that was deleted."""
    gone: float
    """Seconds until nobody sees it any more."""
    emptied: float
    """Seconds until its rows are removed."""
    pages: list[Timing]


def about() -> str:
    """The machine and its load, to which the measurement itself contributes."""
    return f"{machine()}; load average {os.getloadavg()[2]:.1f} over the last quarter of an hour"


def fleets(reports: Sequence[Report]) -> str:
    """A column per fleet."""
    rows: list[tuple[str, list[str]]] = [
        ("workers", [f"{r.fleet.workers}" for r in reports]),
        ("shards, seconds each", [f"{r.fleet.shards:,}, {r.fleet.sleep}" for r in reports]),
        ("wall time, s", [f"{r.seconds:,.0f}" for r in reports]),
        ("shards per second", [f"{r.fleet.shards / r.seconds:.1f}" for r in reports]),
        ("scheduler, CPU ms per shard", [f"{r.scheduler_cpu:.2f}" for r in reports]),
        ("scheduler round, p99 ms", [f"{r.tick_ms:.0f}" for r in reports]),
        ("worker, CPU ms per shard", [f"{r.workers_cpu:.1f}" for r in reports]),
        ("claim, p50 / p99 ms", [f"{r.claim_p50:.1f} / {r.claim_p99:.1f}" for r in reports]),
        ("commit, p50 / p99 ms", [f"{r.commit_p50:.1f} / {r.commit_p99:.1f}" for r in reports]),
        ("claims, of which empty", [_claims(r) for r in reports]),
        ("heartbeat statements per second", [f"{r.heartbeats:.1f}" for r in reports]),
        ("transactions per second", [_or_dash(r.transactions) for r in reports]),
        ("connections to the database", [_or_dash(r.connections) for r in reports]),
        ("shards or examples lost or duplicated", [f"{r.doubled}" for r in reports]),
    ]
    names = [f"{r.database}, {r.broker}" for r in reports]
    return f"{about()}\n\n{_table(['', *names], ([name, *cells] for name, cells in rows))}"


def scores(found: Sequence[Scores]) -> str:
    """Loading and deleting."""
    rows = [
        [
            one.database,
            f"{one.big.rows:,}",
            f"{one.big.seconds:.1f}",
            f"{one.big.speed:,.0f}",
            f"{one.whole_bytes / one.big.rows:.0f}",
            f"{one.deleted.rows:,}",
            f"{one.gone:.2f}",
            f"{one.emptied:.2f}",
        ]
        for one in found
    ]
    head = ["database", "head scores", "load, s", "per second", "bytes per score, all tables"]
    head += ["scores of the deleted job", "gone after, s", "space free after, s"]
    return f"{about()}; shards of {PER_SHARD} examples\n\n{_table(head, rows)}"


def pages(found: Sequence[Scores]) -> str:
    """Milliseconds per page, a pair of columns per database."""
    head = [
        "",
        *(f"{one.database}, {what} ms" for one in found for what in ("median", "p95", "CPU")),
    ]
    rows = [
        [
            same[0].name,
            *(f"{value:.0f}" for one in same for value in (one.median, one.p95, one.cpu)),
        ]
        for same in zip(*(one.pages for one in found), strict=True)
    ]
    return f"{about()}\n\n{_table(head, rows)}"


def arrays(variants: Sequence[Variant]) -> str:
    """Rows against arrays."""
    if not variants:
        return "not measured: no PostgreSQL"
    rows = [
        ["scores", *(f"{one.scores:,}" for one in variants)],
        ["bytes per score, table", *(f"{one.table_bytes / one.scores:.1f}" for one in variants)],
        ["bytes per score, index", *(f"{one.index_bytes / one.scores:.1f}" for one in variants)],
        *(
            [f"{question}, ms", *(f"{one.milliseconds[question]:,.1f}" for one in variants)]
            for question in QUESTIONS
        ),
    ]
    return f"{about()}\n\n{_table(['', *(one.name for one in variants)], rows)}"


def devices(found: Sequence[DeviceRow], speed: float) -> str:
    """A row per database.

    speed: examples per second
    """
    rows = [
        [
            one.database,
            f"{one.examples:,}",
            f"{one.shards}",
            f"{one.idle:.1%}",
            f"{one.waits:.1f}",
            f"{one.storing:.1f}",
            f"{one.speed:,.0f}",
        ]
        for one in found
    ]
    head = ["database", "examples", "shards", "device idle", "idle, s", "commits, s"]
    table = _table([*head, "head scores per second of commits"], rows)
    return f"{about()}; {speed:,.0f} examples per second\n\n{table}"


def workers(pairs: Sequence[Pair], examples: int) -> str:
    """A row per pair."""
    rows = [
        [f"{pair.one:.1f}", f"{pair.two:.1f}", f"{pair.speedup:.2f}", f"{pair.load:.1f}"]
        for pair in pairs
    ]
    head = ["one worker, s", "two workers, s", "speed-up", "load before"]
    text = f"{about()}; {examples} examples of the demo model, rtol 0.01"
    return f"{text}\n\n{_table(head, rows)}"


def _claims(report: Report) -> str:
    return f"{report.claims:,}, {report.empty_claims:,}"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
