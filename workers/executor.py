"""Computing a shard of any kind of job: the only place where jobs meet the engine."""

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
from jobs.inputs.tokenizing import TextError, try_content
from jobs.outcome import Completed, Stage, StopReason
from jobs.plan import blocks
from jobs.results import ShardResult
from jobs.specs.base import JobSpec
from jobs.specs.submission import parse_spec
from workers.block import Block, Progress
from workers.heartbeat import Stopped
from workers.kinds import COMPUTE
from workers.model_cache import ModelCache

NOT_THE_EXAMPLES = (OSError, ImportError, ModelError, OptionError)
"""Errors that no example can cause: of the disk, the installation, the model, the specification."""


class BlockError(Exception):
    """Computing a block raised; an example may have caused the exception it was raised from."""


class Attempt:
    """An attempt at a shard, computed block by block; keeps finished blocks when it is stopped."""

    def __init__(
        self,
        held: Claim,
        models: ModelCache,
        *,
        progress: Progress,
        lease_end: Callable[[], int],
        enter: Callable[[Stage], None],
    ) -> None:
        """`progress(done)` raises Stopped to end the attempt; `lease_end()` is the lease's present
        end; `enter(stage)` notes where the attempt is."""
        self.held = held
        self.models = models
        self.progress = progress
        self.lease_end = lease_end
        self.enter = enter
        self.parts: list[ShardResult] = []
        self.seconds = 0.0
        self.fingerprint = ""

    @property
    def completed(self) -> Completed:
        """The blocks that are done."""
        return Completed(parts=tuple(self.parts), seconds=self.seconds)

    def compute(self, shard: ShardInput) -> None:
        """Compute every block up to the end of the lease.

        Raises Stopped, and BlockError where an example may be the cause; any other exception is
        not the fault of an example.
        """
        spec = parse_spec(json.loads(shard.spec))
        self.progress(0)
        self._load(spec)
        bad = self._fails_to_tokenize(spec, shard)
        for lo, hi in blocks(self.held.lo, self.held.hi, self.held.block):
            if lo >= self.lease_end():
                return
            self.progress(lo - self.held.lo)
            started = time.monotonic()
            # Once more: an attack with other models may have evicted it.
            loaded = self.models.get(spec)
            # A job may have been begun by code whose fingerprints left the tokenizer out.
            earlier = loaded.earlier_fingerprint
            known = shard.model_fingerprint == earlier
            self.fingerprint = earlier if known else loaded.fingerprint
            block = Block(
                spec=spec,
                shard=shard.part(lo, hi),
                loaded=loaded,
                models=self.models,
                progress=partial(self._report, lo),
            )
            if bad is not None and bad.index < hi - self.held.lo:
                raise BlockError from bad
            self.parts.append(_compute(block))
            self.seconds += time.monotonic() - started

    def _load(self, spec: JobSpec) -> None:
        if self.models.has(spec):
            return
        self.enter(Stage.LOADING)
        self.models.get(spec)
        self.enter(Stage.COMPUTING)
        self.progress(0)

    def _fails_to_tokenize(self, spec: JobSpec, shard: ShardInput) -> TextError | None:
        """Try the tokenizer on the texts, where it can harm nobody; returns the first failure."""
        backend = getattr(self.models.get(spec).tokenizer, "backend_tokenizer", None)
        if backend is None:  # written in Python
            return None
        try:
            try_content(backend.to_str(), [[a] if b is None else [a, b] for a, b in shard.texts])
        except TextError as error:
            return error
        return None

    def _report(self, lo: int, done: int) -> None:
        if lo >= self.lease_end():
            raise Stopped(StopReason.SHORTENED)
        self.progress(lo - self.held.lo + done)


def _compute(block: Block[Any]) -> ShardResult:
    try:
        return COMPUTE[block.spec.kind](block)
    except (Stopped, UnavailableError, *NOT_THE_EXAMPLES):
        raise
    except BaseException as error:  # Rust extensions panic with a BaseException of their own
        raise BlockError from error
