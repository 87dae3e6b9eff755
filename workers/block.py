"""What a kind's runner gets: a block of a shard, its specification, and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from db.results.commit import ShardInput
from headwise import LoadedModel
from jobs.specs.base import JobSpec
from workers.model_cache import ModelCache

S = TypeVar("S", bound=JobSpec)

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Run(Generic[S]):
    """A block of a shard to compute."""

    spec: S
    shard: ShardInput
    loaded: LoadedModel
    models: ModelCache
    """For kinds that need other models too."""
    progress: Progress
    """To be called with the examples that are done; raises to stop."""

    @property
    def inputs(self) -> list[str] | list[tuple[str, str]]:
        """The texts, as pairs where the specification has two columns."""
        if len(self.spec.data.text_columns) == 2:
            return [(a, b or "") for a, b in self.shard.texts]
        return [a for a, _ in self.shard.texts]

    @property
    def gold(self) -> list[int]:
        """Gold labels; 0 where there is none, which no kind that needs labels lets pass."""
        return [0 if label is None else label for label in self.shard.gold]
