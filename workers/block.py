"""What a kind's runner gets: a block of a shard, its specification, and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import headwise
from db.store import ShardInput
from headwise import LoadedModel
from headwise.passes import is_out_of_memory
from jobs.data import allowed_path
from jobs.settings import Settings
from jobs.spec_parts import JobSpec, ModelSpec

S = TypeVar("S", bound=JobSpec)

Progress = Callable[[int], None]


class ModelCache:
    """The models that this process has loaded: those of one job."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loads: str | None = None
        """The job's model, as in `JobSpec.loads`; None before one is loaded."""
        self._models: dict[tuple[str, str | None, str, str], LoadedModel] = {}

    def get(self, spec: JobSpec, model: ModelSpec | None = None) -> LoadedModel:
        """The spec's own model, or another one that it names.

        Models of another job are dropped first, to have memory for it; where it does not fit
        beside the job's others, these are dropped, too.
        """
        wanted = [self._key(spec, one) for one in (spec.model, *spec.other_models.values())]
        for key in self._models.keys() - wanted:
            del self._models[key]
        key = self._key(spec, model or spec.model)
        if key not in self._models:
            self.loads = None
            try:
                self._models[key] = self._load(key)
            except (RuntimeError, MemoryError) as error:
                if not self._models or not is_out_of_memory(error):
                    raise
                self._models.clear()
                self._models[key] = self._load(key)
        self.loads = spec.loads
        return self._models[key]

    def _key(self, spec: JobSpec, model: ModelSpec) -> tuple[str, str | None, str, str]:
        device = self.settings.device if spec.device == "auto" else spec.device
        return (model.name, model.revision, spec.dtype, device)

    def _load(self, key: tuple[str, str | None, str, str]) -> LoadedModel:
        name, revision, dtype, device = key
        if ModelSpec(name=name, revision=revision).is_local:
            name = str(allowed_path("model.name", name, self.settings))
        return headwise.load(name, revision=revision, dtype=dtype, device=device)


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
