"""Runs one shard of any kind of job. The only place where jobs meet the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from db.store import ShardInput
from jobs.outcome import Completed
from jobs.results import ShardResult
from jobs.spec import parse_spec
from workers.attack import attack
from workers.attribution import attribute
from workers.importance import rank
from workers.pruning import prune
from workers.run import ModelCache, Progress, Run

RUNNERS: dict[str, Callable[[Run[Any]], ShardResult]] = {
    "attribution": attribute,
    "importance": rank,
    "pruning": prune,
    "attack": attack,
}
"""What computes a shard, by the kind of its job."""


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A finished computation and the fingerprint of the model that made it."""

    completed: Completed
    fingerprint: str


def run_shard(shard: ShardInput, models: ModelCache, progress: Progress) -> Computed:
    """Compute every example of a shard. `progress(done)` may raise to stop it."""
    spec = parse_spec(json.loads(shard.spec))
    progress(0)
    loaded = models.get(spec)
    progress(0)
    started = time.monotonic()
    run = Run(spec=spec, shard=shard, loaded=loaded, models=models, progress=progress)
    result = RUNNERS[spec.kind](run)
    seconds = time.monotonic() - started
    completed = Completed(result=result, seconds=seconds)
    return Computed(completed=completed, fingerprint=loaded.fingerprint)
