"""Shortening leases, so that idle workers get shards and urgent jobs start soon.

`jobs.scheduling.rebalance` decides which. The holder learns of it within seconds, and stores what
is left to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from db.database import Database
from db.queue import claims
from db.queue.lifecycle import take_back
from db.queue.sql import RUNNING, TYPICAL, WAITING_QUEUES
from jobs.processes.logs import contained
from jobs.scheduling.rebalance import HeldLease, room, tails, too_slow

TOO_SLOW = "its worker was far slower than the job's others"


def balance(database: Database, idle: Mapping[str, int]) -> list[HeldLease]:
    """Shorten or end leases, and return those.

    idle: number of idle workers by queue; if shards are waiting in a queue, these take them first
    """
    found: list[HeldLease] = []
    waiting = _waiting(database)
    free = {queue for queue, count in idle.items() if count}
    by_queue = defaultdict(list)
    for lease in _running(database, waiting.keys() ^ free):
        by_queue[lease.queue].append(lease)
    for queue, running in by_queue.items():
        cuts: list[tuple[HeldLease, int]] = []
        if queue in waiting:
            for priority, blocks in waiting[queue].items():
                cuts += room(running, priority, blocks)
        else:
            cuts = tails(running, idle[queue])
            found += _take_over(database, running)
        for lease, hi in cuts:
            with contained("shortening a lease", job=lease.job_id):
                if claims.give_away(database, lease, hi):
                    found.append(lease)
    return found


def _waiting(database: Database) -> dict[str, dict[int, int]]:
    """Count the workers that could share what is ready, by queue and priority."""
    waiting: dict[str, dict[int, int]] = defaultdict(dict)
    for row in database.rows(WAITING_QUEUES):
        waiting[row["queue"]][row["priority"]] = int(row["blocks"])
    return waiting


def _running(database: Database, queues: set[str]) -> list[HeldLease]:
    """List the leases in these queues."""
    if not queues:
        return []
    return [HeldLease(**row) for row in database.rows(RUNNING, queues=sorted(queues))]


def _take_over(database: Database, running: list[HeldLease]) -> list[HeldLease]:
    """End the leases of workers that are too slow for their block."""
    found = []
    for lease in running:
        typical = database.value(TYPICAL, job_id=lease.job_id)
        if typical is None or not too_slow(lease, typical):
            continue
        if lease.done > lease.lo:
            ended = claims.give_away(database, lease, lease.done)
        else:
            # Only once: the block may be slow, and not its worker.
            ended = not lease.losses and take_back(database, lease, TOO_SLOW)
        if ended:
            found.append(lease)
    return found
