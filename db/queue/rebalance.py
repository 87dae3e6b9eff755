"""Shortening leases so that idle workers have something to do and priority acts soon.

What to shorten: `jobs.rebalance`. The holder hears of it within seconds and stores what is inside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from db.database import Database
from db.queue import claims
from db.queue.claims import Claim
from db.queue.lifecycle import take_back
from db.queue.sql import RUNNING, TYPICAL, WAITING_QUEUES
from jobs.logs import contained
from jobs.rebalance import Lease, room, tails, too_slow

TOO_SLOW = "its worker was far slower than the job's others"


def balance(database: Database, idle: Mapping[str, int]) -> list[Claim]:
    """Give away what would be late; returns the leases that were shortened or ended.

    idle: idle workers by queue. Where there are some and something waits, they only have to wake.
    """
    found: list[Claim] = []
    waiting = _waiting(database)
    free = {queue for queue, count in idle.items() if count}
    by_queue = defaultdict(list)
    for lease in _running(database, waiting.keys() ^ free):
        by_queue[lease.queue].append(lease)
    for queue, running in by_queue.items():
        cuts: list[tuple[Lease, int]] = []
        if queue in waiting:
            for priority, blocks in waiting[queue].items():
                cuts += room(running, priority, blocks)
        else:
            cuts = tails(running, idle[queue])
            found += _take_over(database, running)
        for lease, hi in cuts:
            with contained("shortening a lease", job=lease.job_id):
                if claims.give_away(database, _claim(lease), hi):
                    found.append(_claim(lease))
    return found


def _waiting(database: Database) -> dict[str, dict[int, int]]:
    """By queue and priority, how many workers could share what is ready."""
    waiting: dict[str, dict[int, int]] = defaultdict(dict)
    with database.read() as tx:
        for row in tx.run(WAITING_QUEUES):
            waiting[row.queue][row.priority] = int(row.blocks)
    return waiting


def _running(database: Database, queues: set[str]) -> list[Lease]:
    """What workers of these queues hold."""
    if not queues:
        return []
    with database.read() as tx:
        rows = tx.run(RUNNING, queues=sorted(queues))
        return [Lease(**row._mapping) for row in rows]


def _take_over(database: Database, running: list[Lease]) -> list[Claim]:
    """End the leases of workers that are too slow for the block that they are in."""
    found = []
    for lease in running:
        with database.read() as tx:
            typical = tx.run(TYPICAL, job_id=lease.job_id).scalar()
        if typical is None or not too_slow(lease, typical):
            continue
        held = _claim(lease)
        if lease.done > lease.lo:
            ended = claims.give_away(database, held, lease.done)
        else:
            # Once only: perhaps the block is slow, and not its worker.
            ended = not lease.losses and take_back(database, held, TOO_SLOW)
        if ended:
            found.append(held)
    return found


def _claim(lease: Lease) -> Claim:
    return Claim(
        job_id=lease.job_id,
        shard_no=lease.shard_no,
        fence=lease.fence,
        lo=lease.lo,
        hi=lease.hi,
        block=lease.block,
    )
