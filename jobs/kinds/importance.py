"""Importance jobs: the specification, and the result of a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from headwise.models.labels import Outputs
from jobs.errors import Problem
from jobs.results.base import Floats, ShardResult
from jobs.specs.base import ROW_BYTES, JobSpec, RankingSource


class ImportanceSpec(JobSpec):
    """Importance of heads by other means than attribution."""

    kind: Literal["importance"] = "importance"
    method: Literal["taylor", "leave-one-out", "embedding-gradient"] = Field(
        description="'taylor' (Michel et al., 2019), about three forward passes per example; "
        "'leave-one-out' (accuracy and loss), about 0.6 per example and head; or "
        "'embedding-gradient', a notebook's method, about six per example. Needs gold labels."
    )

    ranking_sources: ClassVar[tuple[RankingSource, ...]] = (
        RankingSource(
            name="taylor",
            title="Taylor",
            meaning="mean of |sum of attention × gradient of the loss|",
            in_studies=True,
        ),
        RankingSource(
            name="leave-one-out-loss",
            title="Loss without it",
            meaning="what the loss gains without the head",
            in_studies=True,
        ),
        RankingSource(
            name="leave-one-out-accuracy",
            title="Accuracy lost",
            meaning="what the accuracy loses without the head",
        ),
        RankingSource(
            name="embedding-gradient",
            title="Embedding gradient",
            meaning="mean of the largest mean attention × gradient of a token's embedding",
        ),
    )
    """Their names begin with the method that they come from."""

    @property
    def offers(self) -> tuple[str, ...]:
        """The sources of the method."""
        return tuple(name for name in super().offers if name.startswith(self.method))

    @property
    def needs_gold(self) -> bool:
        """Always: every method differentiates or compares the loss."""
        return True

    def misfits(self, labels: tuple[str, ...], outputs: Outputs) -> list[Problem]:
        """A model with a single output, which has no classes."""
        return self.classless(outputs, Outputs.CLASSES)

    def result_bytes(self, layers: int, heads: int) -> float:
        """A row for each head and source."""
        return ROW_BYTES * layers * heads * len(self.offers)

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes; a backward pass counts as two, and layers before the head are shared."""
        passes = {"taylor": 3.0, "embedding-gradient": 6.0}
        return passes.get(self.method, 1.0 + 0.6 * layers * heads)

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """The loss that every method differentiates or compares."""
        return "importance needs data.label_column: gold labels"


@dataclass(frozen=True, kw_only=True)
class ImportanceResult(ShardResult):
    """Importance of heads per example."""

    values: dict[str, Floats]
    """By source, [E, S, H]; heads that a site does not have are NaN."""

    @property
    def ranked(self) -> dict[str, Floats]:
        """All values."""
        return self.values

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Join the values of each source."""
        if name == "values":
            return {source: np.concatenate([v[source] for v in values]) for source in values[0]}
        return super().join(name, values)

    @classmethod
    def pick(cls, name: str, value: Any, rows: Sequence[int]) -> Any:
        """Pick from the values of each source."""
        if name == "values":
            return {source: value[source][list(rows)] for source in value}
        return super().pick(name, value, rows)


SPEC, RESULT = ImportanceSpec, ImportanceResult
