"""What a kind's runner gets: the shard, its specification, and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import headwise
from db.store import ShardInput
from headwise import LoadedModel
from jobs.data import allowed_path
from jobs.settings import Settings
from jobs.spec_parts import JobSpec

S = TypeVar("S", bound=JobSpec)

Progress = Callable[[int], None]


class ModelCache:
    """The one model that this process has loaded."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key: tuple[str, str | None, str, str] | None = None
        self._loaded: LoadedModel | None = None

    def get(self, spec: JobSpec) -> LoadedModel:
        """The spec's model; loading another one drops the last first, to have memory for it."""
        device = self.settings.device if spec.device == "auto" else spec.device
        name = spec.model.name
        if spec.model.is_local:
            name = str(allowed_path("model.name", name, self.settings))
        key = (name, spec.model.revision, spec.dtype, device)
        if self._loaded is None or self._key != key:
            self._loaded = None
            self._loaded = headwise.load(
                name, revision=spec.model.revision, dtype=spec.dtype, device=device
            )
            self._key = key
        return self._loaded


@dataclass(frozen=True, kw_only=True)
class Run(Generic[S]):
    """A shard to compute."""

    spec: S
    shard: ShardInput
    loaded: LoadedModel
    models: ModelCache
    """For kinds that need other models too: `get` drops the one before."""
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
