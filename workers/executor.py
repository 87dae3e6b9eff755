"""Runs one shard of any kind of job. The only place where jobs meet the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from db.queue.claims import Claim
from db.results.commit import ShardInput
from headwise.errors import ModelError, OptionError
from jobs.errors import UnavailableError
from jobs.outcome import Completed
from jobs.plan import blocks
from jobs.results import ShardResult
from jobs.specs.submission import parse_spec
from workers.block import Progress, Run
from workers.heartbeat import SHORTENED, Stopped
from workers.kinds.attack import attack
from workers.kinds.attribution import attribute
from workers.kinds.importance import rank
from workers.kinds.pruning import prune
from workers.model_cache import ModelCache

RUNNERS: dict[str, Callable[[Run[Any]], ShardResult]] = {
    "attribution": attribute,
    "importance": rank,
    "pruning": prune,
    "attack": attack,
}
"""What computes a block of a shard, by the kind of its job."""

NO_EXAMPLES = (OSError, ImportError, ModelError, OptionError)
"""What is never the fault of an example: disk, installation, model, specification."""


class BlockError(Exception):
    """Computing a block raised, for the error that this one is from: it may be an example's."""


class ShardRun:
    """A shard being computed block by block; what is done so far is there after any exception."""

    def __init__(
        self, held: Claim, models: ModelCache, progress: Progress, end: Callable[[], int]
    ) -> None:
        """`progress(done)` may raise to stop it; `end()` is where the lease ends by now."""
        self.held = held
        self.models = models
        self.progress = progress
        self.end = end
        self.parts: list[ShardResult] = []
        self.seconds = 0.0
        self.fingerprint = ""

    @property
    def completed(self) -> Completed:
        """The blocks that are done."""
        return Completed(parts=tuple(self.parts), seconds=self.seconds)

    def compute(self, shard: ShardInput) -> None:
        """Compute every block up to the end of the lease. Raises BlockError, and what `progress`
        raises; anything else is no example's fault."""
        spec = parse_spec(json.loads(shard.spec))
        self.progress(0)
        self.models.get(spec)
        for lo, hi in blocks(self.held.lo, self.held.hi, self.held.block):
            if lo >= self.end():
                return
            self.progress(lo - self.held.lo)
            started = time.monotonic()
            # Again: an attack with other models may have dropped it.
            loaded = self.models.get(spec)
            self.fingerprint = loaded.fingerprint
            run = Run(
                spec=spec,
                shard=shard.part(lo, hi),
                loaded=loaded,
                models=self.models,
                progress=partial(self._tick, lo),
            )
            self.parts.append(_compute(run))
            self.seconds += time.monotonic() - started

    def _tick(self, lo: int, done: int) -> None:
        if lo >= self.end():
            raise Stopped(SHORTENED)
        self.progress(lo - self.held.lo + done)


def _compute(run: Run[Any]) -> ShardResult:
    try:
        return RUNNERS[run.spec.kind](run)
    except (Stopped, UnavailableError, *NO_EXAMPLES):
        raise
    except Exception as error:
        raise BlockError from error
