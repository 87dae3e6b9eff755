"""Computing a shard of any kind of job: the only place where jobs meet the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from db.queue.claims import Claim
from db.results.commit import ShardInput
from headwise.errors import ModelError, OptionError
from headwise.options import Partial
from jobs.errors import UnavailableError
from jobs.outcome import Completed, PartialBlock, Stage, StopReason
from jobs.results.base import ShardResult
from jobs.scheduling.plan import block_end, blocks
from jobs.specs.base import JobSpec
from jobs.specs.submission import parse_spec
from workers.block import Block, Progress
from workers.heartbeat import Stopped
from workers.host_work import HostWork, converted
from workers.kinds import COMPUTE, Computed
from workers.model_cache import ModelCache
from workers.tokenizer_trial import TokenizerTrial

T = TypeVar("T")

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
        ready: Callable[[], None],
    ) -> None:
        """`progress(done)` takes the examples that a stop now would keep, and raises Stopped to end
        the attempt; `lease_end()` is the lease's present end; `enter(stage)` notes where the
        attempt is; `ready()` is called when a block, or a model that is to be loaded, is about to
        keep the attempt busy."""
        self.held = held
        self.models = models
        self.progress = progress
        self.lease_end = lease_end
        self.enter = enter
        self.ready = ready
        self.parts: list[ShardResult] = []
        """Complete once `compute` has ended, however it did."""
        self._converting: list[Callable[[], ShardResult]] = []
        self.partial: PartialBlock | None = None
        """The finished part of the block after these parts."""
        self.seconds = 0.0
        self.fingerprint = ""

    @property
    def completed(self) -> Completed:
        """The blocks that are done, and what is finished of the next one."""
        return Completed(parts=tuple(self.parts), seconds=self.seconds, partial=self.partial)

    def compute(self, shard: ShardInput) -> None:
        """Compute every block up to the end of the lease.

        Raises Stopped, and BlockError where an example may be the cause; any other exception is
        not the fault of an example.
        """
        spec = parse_spec(json.loads(shard.spec))
        self.progress(self.held.progress)
        self._load(spec)
        trial = self._tokenizer_trial(spec, shard)
        with closing(HostWork(spec, shard, trial)) as host:
            try:
                self._compute_blocks(spec, shard, host)
            finally:
                for part in self._converting:
                    self.parts.append(_of_block(part))

    def _compute_blocks(self, spec: JobSpec, shard: ShardInput, host: HostWork) -> None:
        for lo, hi in blocks(self.held.lo, self.held.hi, self.held.block):
            if lo >= self.lease_end():
                return
            # Once more: an attack with other models may have evicted it.
            loaded = self.models.get(spec)
            # A job may have been begun by code whose fingerprints left the tokenizer out.
            earlier = loaded.earlier_fingerprint
            known = shard.model_fingerprint == earlier
            self.fingerprint = earlier if known else loaded.fingerprint
            kept = self._kept(shard, lo, hi)
            self._report(lo, kept)
            if (bad := host.failure(hi)) is not None:
                raise BlockError from bad
            finished = Partial(finished=set(kept), stops_on=Stopped)
            block = Block(
                spec=spec,
                shard=shard.part(lo, hi),
                loaded=loaded,
                models=self.models,
                progress=partial(self._report, lo, finished.finished),
                partial=finished,
                prepared=host.prepared(loaded, lo, hi),
                kept=kept,
            )
            if hi < self.held.hi:
                host.prepare_next(loaded, hi, block_end(hi, self.held.hi, self.held.block))
            self.ready()
            self._compute_block(block, hi, host)
            if finished.stopped is not None:
                raise finished.stopped

    def _kept(self, shard: ShardInput, lo: int, hi: int) -> frozenset[int]:
        """Places in a block of the examples that earlier attempts have finished."""
        self.partial = None
        kept = shard.partial
        if kept is None or (kept.lo, kept.hi, kept.fingerprint) != (lo, hi, self.fingerprint):
            return frozenset()
        self.partial = kept
        return frozenset(number - lo for number in kept.finished)

    def _compute_block(self, block: Block[Any], hi: int, host: HostWork) -> None:
        """Compute what is missing of a block; what is finished of it is kept if it is stopped."""
        started, lo = time.monotonic(), block.shard.lo
        computed, rows = _compute(block), block.rows
        if len(rows) == hi - lo:
            self._converting.append(host.converted(computed))
            self.seconds += time.monotonic() - started
            return
        own = PartialBlock(
            lo=lo,
            hi=hi,
            finished=tuple(lo + row for row in rows),
            result=_of_block(lambda: converted(computed)),
            seconds=time.monotonic() - started,
            fingerprint=self.fingerprint,
        )
        found = own if self.partial is None else self.partial.with_more(own)
        if len(found.finished) < hi - lo:
            self.partial = found if found.finished else None
            return
        self.partial = None
        result = found.result
        self._converting.append(lambda: result)
        self.seconds += found.seconds

    def _load(self, spec: JobSpec) -> None:
        if self.models.has(spec):
            return
        self.enter(Stage.LOADING)
        self.ready()
        self.models.get(spec)
        self.enter(Stage.COMPUTING)
        self.progress(self.held.progress)

    def _tokenizer_trial(self, spec: JobSpec, shard: ShardInput) -> TokenizerTrial | None:
        """Try the tokenizer on the texts, where it can harm nobody; None if it is in Python."""
        tokenizer = self.models.tokenizer_json(spec)
        if tokenizer is None:
            return None
        texts = [[a] if b is None else [a, b] for a, b in shard.texts]
        return TokenizerTrial(tokenizer, texts, self.models.trying)

    def _report(self, lo: int, finished: Collection[int]) -> None:
        if lo >= self.lease_end():
            raise Stopped(StopReason.SHORTENED)
        self.progress(lo - self.held.lo + len(finished))


def _compute(block: Block[Any]) -> Computed:
    return _of_block(lambda: COMPUTE[block.spec.kind](block))


def _of_block(work: Callable[[], T]) -> T:
    """Do work for a block; raises BlockError where an example may be the cause."""
    try:
        return work()
    except (Stopped, UnavailableError, *NOT_THE_EXAMPLES):
        raise
    except BaseException as error:  # Rust extensions panic with a BaseException of their own
        raise BlockError from error
