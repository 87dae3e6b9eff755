"""Toy jobs: the specification, and the result of a shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from jobs.results.base import Floats, ShardResult
from jobs.specs.base import JobSpec, RankingSource


class ToySpec(JobSpec):
    """Heads ranked by the number of words, which says nothing about them."""

    kind: Literal["toy"] = "toy"
    scale: float = Field(default=0.5, gt=0, le=10, description="Factor of every value.")
    order: Literal["first", "last"] = Field(
        default="last", description="Which heads of a layer have the largest values."
    )

    ranking_sources: ClassVar[tuple[RankingSource, ...]] = (
        RankingSource(name="words", title="Words", meaning="mean of words × number of the head"),
    )


@dataclass(frozen=True, kw_only=True)
class ToyResult(ShardResult):
    """A value per example and head."""

    values: Floats
    """[E, S, H]"""

    @property
    def ranked(self) -> dict[str, Floats]:
        """The values, by the only source."""
        return {"words": self.values}


SPEC, RESULT = ToySpec, ToyResult
