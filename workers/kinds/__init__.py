"""Functions that compute a block of a shard, one module per kind of job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.results.commit import ShardInput
from headwise import LoadedModel
from jobs.kinds import modules
from jobs.results.base import ShardResult
from workers.block import Block

Computed = ShardResult | Callable[[], ShardResult]
"""A result, or a function that makes one of what the device has computed."""

COMPUTE: dict[str, Callable[[Block[Any]], Computed]] = {
    name: module.compute for name, module in modules(__name__).items()
}
"""The function that computes a block, by kind of job."""

PREPARE: dict[str, Callable[[Any, LoadedModel, ShardInput], Any]] = {
    name: module.prepare for name, module in modules(__name__).items() if hasattr(module, "prepare")
}
"""By kind of job, what can be done for a block without the device: (specification, model, examples)
to what the block is given as `prepared`. It is done while the block before is computed."""
