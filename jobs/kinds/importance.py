"""Importance jobs: their specification and what a shard of one leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import (
    Field,
    model_validator,
)

from jobs.results import Floats, ShardResult
from jobs.specs.base import JobSpec


class ImportanceSpec(JobSpec):
    """Importance of heads by other means: Taylor expansion or leaving one head out."""

    kind: Literal["importance"] = "importance"
    method: Literal["taylor", "leave-one-out"] = Field(
        description="'taylor' (Michel et al., 2019) or 'leave-one-out' (accuracy and loss)."
    )

    @property
    def offers(self) -> tuple[str, ...]:
        """Taylor's expansion, or what the loss and the accuracy lose with the head."""
        if self.method == "taylor":
            return ("taylor",)
        return ("leave-one-out-loss", "leave-one-out-accuracy")

    @property
    def needs_gold(self) -> bool:
        """Both methods need the loss."""
        return True

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes: a backward pass counts as two, layers before the head are shared."""
        return 3.0 if self.method == "taylor" else 1.0 + 0.6 * layers * heads

    @model_validator(mode="after")
    def _needs_labels(self) -> ImportanceSpec:
        if self.data.label_column is None:
            raise ValueError(f"method {self.method!r} needs data.label_column: gold labels")
        return self


@dataclass(frozen=True, kw_only=True)
class ImportanceResult(ShardResult):
    """Importance of heads per example, by Taylor expansion or leaving one head out."""

    values: dict[str, Floats]
    """By source, [E, S, H]; heads that a site does not have are NaN."""

    @property
    def ranked(self) -> dict[str, Floats]:
        """The values themselves."""
        return self.values

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Values by source."""
        if name == "values":
            return {source: np.concatenate([v[source] for v in values]) for source in values[0]}
        return super().join(name, values)
