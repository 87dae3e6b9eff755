"""Attribution jobs: the specification, and the result of a shard."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from headwise.models.labels import Outputs
from jobs.errors import Problem
from jobs.results.base import Bools, Floats, Ints, ShardResult
from jobs.results.head_matrices import HeadMatrix
from jobs.specs.base import ROW_BYTES, JobSpec, RankingSource

_RULE = re.compile(r"^(auto|(gauss-legendre|left-riemann):(\d{1,4}))$")


class AttributionSpec(JobSpec):
    """Self-attention attribution (Hao et al., AAAI 2021) of every head on every example."""

    kind: Literal["attribution"] = "attribution"
    target: str = Field(
        default="predicted",
        min_length=1,
        max_length=200,
        description="'predicted', 'gold', or the name of one of the model's labels.",
    )
    output: Literal["probability", "logit", "log-probability"] = Field(
        default="probability", description="The scalar that is attributed."
    )
    integration: str = Field(
        default="auto",
        description="'auto' (meets rtol), 'gauss-legendre:m' or 'left-riemann:m' with m points.",
    )
    rtol: float = Field(
        default=1e-3,
        ge=1e-6,
        le=0.5,
        description="With integration 'auto': relative error of a site's attribution to aim at.",
    )
    max_points: int = Field(
        default=64,
        ge=4,
        le=1024,
        description="With integration 'auto': most points per example and site.",
    )
    edges: int = Field(
        default=16, ge=0, le=1000, description="Strongest token pairs kept per example."
    )
    ranking_sources: ClassVar[tuple[RankingSource, ...]] = (
        RankingSource(
            name="attattr",
            title="AttAttr",
            meaning="mean of the attribution's largest cell",
            in_studies=True,
        ),
        RankingSource(
            name="attattr-total",
            title="AttAttr, total",
            meaning="mean of the attribution's sum, with sign",
        ),
        RankingSource(
            name="attattr-absolute-total",
            title="AttAttr, absolute total",
            meaning="mean of |sum of the attribution|",
        ),
        RankingSource(
            name="attention",
            title="Attention",
            meaning="mean of the largest attention probability",
            in_studies=True,
        ),
    )
    """The first one is the importance of Hao et al.; attention is the baseline to compare with."""
    costly: ClassVar[tuple[str, ...]] = (
        *JobSpec.costly,
        *("integration", "rtol", "max_points"),
    )
    unit_seconds: ClassVar[float] = 0.25

    @property
    def needs_gold(self) -> bool:
        """True where the gold label is the target."""
        return self.target == "gold"

    def unlabelled(self, message: str) -> Problem:
        """Name the target, which is what asks for gold labels."""
        remedy = "Use 'predicted', or label every row."
        return Problem(field="target", value="gold", message=message, remedy=remedy)

    def misfits(self, labels: tuple[str, ...], outputs: Outputs) -> list[Problem]:
        """A target that is not a label of the model, or what numbers (regression) do not have."""
        if outputs is Outputs.NUMBERS:
            return self._misfits_of_numbers(labels)
        if self.target in ("predicted", "gold", *labels):
            return []
        remedy = f"Give 'predicted', 'gold' or one of: {', '.join(labels)}."
        message = "is not a label of the model"
        return [Problem(field="target", value=self.target, message=message, remedy=remedy)]

    def _misfits_of_numbers(self, labels: tuple[str, ...]) -> list[Problem]:
        default = ("predicted",) if len(labels) == 1 else ()
        column = self.data.label_column
        found = {
            ("output", self.output, "Use 'logit', the number itself."): self.output == "logit",
            ("target", self.target, f"Name an output: {', '.join(labels)}."): self.target
            in (*default, *labels),
            ("data.label_column", column, "Leave it empty."): column is None,
        }
        message = "needs classes, but the model gives numbers (regression)"
        return [
            Problem(field=field, value=value, message=message, remedy=remedy)
            for (field, value, remedy), good in found.items()
            if not good
        ]

    def fitted(self, outputs: Outputs) -> AttributionSpec:
        """Attribute the output itself where there are no probabilities."""
        if outputs is not Outputs.NUMBERS or "output" in self.model_fields_set:
            return self
        return self.model_copy(update={"output": "logit"})

    @field_validator("integration")
    @classmethod
    def _known_rule(cls, value: str) -> str:
        match = _RULE.match(value)
        if not match or (match[3] is not None and not 1 <= int(match[3]) <= 1024):
            raise ValueError(
                "must be 'auto', 'gauss-legendre:m' or 'left-riemann:m' with m from 1 to 1024"
            )
        return value

    def result_bytes(self, layers: int, heads: int) -> float:
        """A row for each head."""
        return ROW_BYTES * layers * heads

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """The target, if it is the gold label."""
        return "target 'gold' needs data.label_column" if given.get("target") == "gold" else None


@dataclass(frozen=True, kw_only=True)
class AttributionResult(ShardResult):
    """Attribution of every head on every example; k edges."""

    score: Floats
    """[E, S, H] largest cell of the head's attribution."""
    total: Floats
    """[E, S, H] sum of the head's attribution."""
    query: Ints
    """[E, S, H] query position of the largest cell."""
    key: Ints
    """[E, S, H] key position of the largest cell."""
    attention_max: Floats
    """[E, S, H] largest attention probability."""
    attention_mean: Floats
    """[E, S, H] mean over queries of the row's largest attention probability."""
    f0: Floats
    """[E, S] target with the site's attention scaled to zero."""
    f1: Floats
    """[E, S] target of the unchanged model."""
    residual: Floats
    """[E, S] completeness residual."""
    points: Ints
    """[E, S] integration points used."""
    converged: Bools
    """[E, S] True where the estimated error met the tolerance."""
    edge_site: Ints
    """[E, k] site of the strongest cells; -1 where there are fewer than k."""
    edge_head: Ints
    edge_query: Ints
    edge_key: Ints
    edge_value: Floats
    edge_attention: Floats
    matrices: tuple[tuple[HeadMatrix, ...], ...] = ()
    """By example, of the heads that were asked for; empty where none was."""

    @classmethod
    def pick(cls, name: str, value: Any, rows: Sequence[int]) -> Any:
        """The matrices of these examples; else as every kind."""
        if name == "matrices":
            return tuple(value[row] for row in rows) if value else ()
        return super().pick(name, value, rows)

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """The matrices of all examples; else as every kind."""
        return sum(values, ()) if name == "matrices" else super().join(name, values)

    @property
    def ranked(self) -> dict[str, Floats]:
        """The values of every source in `AttributionSpec.ranking_sources`."""
        return {
            "attattr": self.score,
            "attattr-total": self.total,
            "attattr-absolute-total": np.abs(self.total),
            "attention": self.attention_max,
        }


def shard_sums(
    result: AttributionResult, start: int = 0, stop: int | None = None
) -> tuple[int, NDArray[np.float64]]:
    """Count the examples start .. stop - 1 of a shard that did not fail, and sum their values.

    The sums are float64 [6, S, H], in the order of `jobs.kinds.head_importance.SUM_NAMES`.
    """
    ok = result.ok[start:stop]
    columns = [
        np.asarray(values[start:stop], dtype=np.float64)[ok]
        for values in (result.score, result.total, result.attention_max, result.attention_mean)
    ]
    score, total, attention_max, attention_mean = columns
    parts = (score, score**2, total, np.abs(total), attention_max, attention_mean)
    return int(ok.sum()), np.stack([part.sum(axis=0) for part in parts])


SPEC, RESULT = AttributionSpec, AttributionResult
