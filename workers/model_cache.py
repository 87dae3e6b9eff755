"""The models that a worker process has loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import headwise
from headwise import LoadedModel
from headwise.attribution.memory import is_out_of_memory
from headwise.errors import ModelNotFoundError
from jobs.inputs.data.examples import allowed_path
from jobs.inputs.models.tokenizing import TryingProcesses
from jobs.settings import Settings
from jobs.specs.base import JobSpec, ModelSpec


class ModelCache:
    """The loaded models of one job.

    arrived: called in any thread when a part of a hub model has arrived
    """

    def __init__(self, settings: Settings, arrived: Callable[[], object] = lambda: None) -> None:
        self.settings = settings
        self.arrived = arrived
        self.loads: str | None = None
        """The job's model, as in `JobSpec.loads`; None before one is loaded."""
        self.trying = TryingProcesses()
        """They try texts with its tokenizer."""
        self._models: dict[tuple[str, str | None, str, str], LoadedModel] = {}
        self._tokenizers: dict[tuple[str, str | None, str, str], str] = {}

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()
        self._tokenizers.clear()
        self.loads = None

    def has(self, spec: JobSpec) -> bool:
        """Return True if the job's own model is loaded."""
        return self._key(spec, spec.model) in self._models

    def get(self, spec: JobSpec, model: ModelSpec | None = None) -> LoadedModel:
        """Return the job's own model, or another one that its specification names.

        Models of other jobs are dropped first to free their memory. If a model does not fit beside
        the job's other models, those are dropped too.
        """
        wanted = [self._key(spec, one) for one in (spec.model, *spec.other_models.values())]
        for key in self._models.keys() - wanted:
            del self._models[key]
            self._tokenizers.pop(key, None)
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

    def tokenizer_json(self, spec: JobSpec) -> str | None:
        """The tokenizer of the job's own model as JSON, as it was when this was asked for first:
        every use changes its truncation and padding. None if it is in Python."""
        backend = getattr(self.get(spec).tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        key = self._key(spec, spec.model)
        if key not in self._tokenizers:
            self._tokenizers[key] = backend.to_str()
        return self._tokenizers[key]

    def _key(self, spec: JobSpec, model: ModelSpec) -> tuple[str, str | None, str, str]:
        device = self.settings.device if spec.device == "auto" else spec.device
        return (model.name, model.revision, spec.dtype, device)

    def _load(self, key: tuple[str, str | None, str, str]) -> LoadedModel:
        name, revision, dtype, device = key
        self._tokenizers.pop(key, None)
        if ModelSpec(name=name, revision=revision).is_local:
            name = str(allowed_path("model.name", name, self.settings))
        elif Path(name).exists():
            raise ModelNotFoundError(
                f"model {name!r} is a name on the hub, but the worker would read what has it "
                "in its working directory; start the worker elsewhere"
            )
        return headwise.load(
            name, revision=revision, dtype=dtype, device=device, arrived=self.arrived
        )
