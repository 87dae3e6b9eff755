"""Functions that compute a block of a shard, one module per kind of job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.kinds import modules
from jobs.results.base import ShardResult
from workers.block import Block

COMPUTE: dict[str, Callable[[Block[Any]], ShardResult]] = {
    name: module.compute for name, module in modules(__name__).items()
}
"""The function that computes a block, by kind of job."""
