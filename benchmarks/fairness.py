"""Rules of claiming compared on a simulated fleet; writes docs/explanation/scheduling.md.

50 users share 20 workers for two hours. 30 of them have a job of heavy-tailed size and want more
than the fleet can do; the others have a small job now and then. Every user has a model. Runs on
two cores in some minutes: `python -m benchmarks.fairness`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import structlog

from benchmarks.fairness_fleet import LOAD, SHARD, Fleet, jain, simulated_clock
from benchmarks.page import publish, say
from db.database import Database
from db.queue import claims
from db.queue.sql import RANKED, SHARES

PAGE = Path(__file__).parents[1] / "docs/explanation/scheduling.md"
MODEL_OR_OLDEST = SHARES.partition("CASE WHEN o.model")
ORDERS = {
    "fair shares, as described": SHARES,
    "fewest running shards": "ORDER BY priority DESC, held, "
    + MODEL_OR_OLDEST[1]
    + MODEL_OR_OLDEST[2],
    "oldest job first": "ORDER BY priority DESC, job_id LIMIT 50",
}


@dataclass(frozen=True, kw_only=True)
class Load:
    """The users, and what they submit."""

    workers: int = 20
    heavy: int = 30
    light: int = 20
    seconds: float = 7200.0
    between: float = 90.0
    """Mean seconds between small jobs."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a rule of claiming."""

    waits: tuple[float, ...]
    """Seconds until the first shard of each small job, ascending; those that never began count
    until the end."""
    jain: float
    """Of the shards of the users who had work ready all the time."""
    switches: float
    """Shards before which a worker had to load another model, as a share of all."""
    lost: float
    """Time of the workers that loading took."""


@contextmanager
def ordered_by(order: str) -> Iterator[None]:
    """Claims rank jobs in this order."""
    if SHARES not in RANKED:
        raise RuntimeError("the statement that ranks jobs has another order")
    with patch.object(claims, "RANKED", RANKED.replace(SHARES, order)):
        yield


def simulate(order: str, load: Load, seed: int) -> Report:
    """Let the fleet work under a rule."""
    draw = random.Random(seed)
    arrivals = [
        (draw.uniform(0, load.seconds / 6), f"heavy {user}", heavy_tailed(draw))
        for user in range(load.heavy)
    ]
    at = load.seconds / 6
    while (at := at + draw.expovariate(1 / load.between)) < load.seconds * 0.9:
        small = min(5, int(draw.paretovariate(1.5)))
        arrivals.append((at, f"light {draw.randrange(load.light)}", small))
    small_jobs: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, simulated_clock(), ordered_by(order):
        database = Database(f"sqlite:///{folder}/headwise.sqlite")
        database.migrate()
        fleet = Fleet(database, load.workers)
        began = fleet.now
        for at, user, shards in sorted(arrivals):
            fleet.run(began + at - fleet.now)
            job = fleet.submit(user, shards)
            if user.startswith("light"):
                small_jobs[job] = fleet.now
        fleet.run(began + load.seconds - fleet.now)
        database.close()
    return report(fleet, small_jobs, load)


def heavy_tailed(draw: random.Random) -> int:
    """Shards of a large job."""
    return min(1_000, int(150 * draw.paretovariate(1.1)))


def report(fleet: Fleet, small_jobs: dict[int, float], load: Load) -> Report:
    """Summarize what the fleet did."""
    first: dict[int, float] = {}
    for one in fleet.claims:
        first.setdefault(one.job, one.at)
    end = fleet.now
    start = end - load.seconds * 5 / 6
    late = [one for one in fleet.claims if one.at >= start]
    # Users whose work ran out want less than their share.
    wanting = frozenset.intersection(*(one.waiting for one in late if one.at < start + 3_600))
    share = Counter(one.user for one in late if one.at < start + 3_600)
    return Report(
        waits=tuple(sorted(first.get(job, end) - at for job, at in small_jobs.items())),
        jain=jain([share[user] for user in wanting if user.startswith("heavy")]),
        switches=fleet.switches / len(fleet.claims),
        lost=fleet.switches * LOAD / (fleet.switches * LOAD + len(fleet.claims) * SHARD),
    )


def table(found: dict[str, Report]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| order of claims | small jobs: p50 wait, s | p99 wait, s | Jain's index | "
        "shards with a change of model | time lost to it |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in found.items():
        median, last = np.percentile(one.waits, [50, 99])
        lines.append(
            f"| {name} | {median:,.0f} | {last:,.0f} | {one.jain:.3f} | {one.switches:.0%} "
            f"| {one.lost:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compare the rules."""
    parser = argparse.ArgumentParser(description="Simulate a fleet under several rules.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--print-only", action="store_true", help="leave the page as it is")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = {}
    for name, order in ORDERS.items():
        say(f"simulating: {name}")
        found[name] = simulate(order, Load(), given.seed)
    publish("fairness", table(found), page=PAGE, write=not given.print_only)


if __name__ == "__main__":
    main()
