"""Faults of what neither goes on nor ends: stopped processes, frozen servers, cut connections."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.arena import FINAL, Arena
from tests.chaos.job_faults import Job
from tests.chaos.network import Network
from tests.chaos.points import step
from tests.helpers.stack import frozen


def stop_worker(made: Arena, chance: random.Random, _job: int) -> bool:
    """A worker with its child, or one of the two."""
    family = made.family(chance.choice(made.workers))
    made.stop_for_good(*chance.choice([family, family[:1], family[1:] or family]))
    return True


def stop_scheduler(made: Arena, chance: random.Random, _job: int) -> bool:
    made.stop_for_good(chance.choice(made.schedulers))
    return True


def freeze_database(*seconds: float) -> Callable[[Arena, random.Random, int], bool]:
    """Freeze PostgreSQL for one of these times while the job runs."""

    def act(made: Arena, chance: random.Random, _job: int) -> bool:
        with frozen(made.server):
            time.sleep(chance.choice(seconds))
        return True

    return act


def freeze_broker(*seconds: float) -> Callable[[Arena, random.Random, int], bool]:
    """Freeze the broker for one of these times while the job runs."""

    def act(made: Arena, chance: random.Random, _job: int) -> bool:
        with frozen(made.broker):
            made.during(lambda: False, chance.choice(seconds))
        return True

    return act


def broker_frozen_throughout(made: Arena, chance: random.Random) -> list[Job]:
    """A job is submitted, planned, computed and finished while the broker is frozen."""
    with frozen(made.broker):
        if chance.random() < 0.5:  # they have never seen it answer
            for pid in [*made.workers, *made.schedulers]:
                made.kill(pid)
        job = made.begin()
        made.finish(job)
    return [(job, "plain")]


CUTS = ("example", "claim.1-2", "claim.after", "commit.0-8", "commit.commit")
"""Points at which a worker's cable is pulled."""


def cut_off(made: Arena, chance: random.Random) -> list[Job]:
    """A worker loses its network, in its commit for example; it may come back after the job."""
    assert isinstance(made.network, Network)
    for parent in made.workers:
        made.kill(parent)
    made.wanted = (2, 1)
    inside = made.fork(
        "worker",
        namespace=made.network.name,
        environment={
            key: made.environment[key].replace("127.0.0.1", made.network.here)
            for key in ("HEADWISE_DATABASE_URL", "HEADWISE_BROKER_URL")
        },
    )
    made.workers[:] = [inside]
    point = made.lay(step(chance.choice(CUTS), chance), "sleep:1")
    job = made.begin()
    if made.during(lambda: made.taken(point) or made.state(job) in FINAL):
        made.network.cut()
        made.faulted.update(made.family(inside))
    made.wanted = (2, 3)
    if chance.random() < 0.5:
        return [(job, "plain")]
    made.finish(job)
    made.network.heal()
    made.faulted.clear()
    return [(job, "plain"), (made.begin(), "plain")]
