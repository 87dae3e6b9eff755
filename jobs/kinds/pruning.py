"""Pruning: which heads are removed at each point of the curves, and what its shards add up to.

Hao et al., AAAI 2021, section 4.2: heads removed in the order of their importance. Order and masks
are `headwise.stats.curve`'s, the model without the heads is `headwise.pruning.masking`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from headwise.stats.curve import Bools, Floats, curve_masks, notebook_mask
from headwise.stats.sums import MaskSums
from jobs.errors import refuse
from jobs.results import ShardResult
from jobs.specs.base import Frozen, JobNumber, JobSpec, Reference

Direction = Literal["least", "most"]
RankingSource = Literal[
    "attattr",
    "attattr-total",
    "attattr-absolute-total",
    "attention",
    "taylor",
    "leave-one-out-loss",
    "leave-one-out-accuracy",
]

MOST_MASKS = 2000
"""A job's cap: so many forward passes per example take minutes for a hundred examples."""


class PruningSource(Frozen):
    """A ranking of heads that an earlier job left."""

    job: JobNumber = Field(description="Number of an attribution or importance job.")
    source: RankingSource = Field(
        default="attattr", description="Which of its rankings: a source of importance."
    )


class PruningSpec(JobSpec):
    """What the model keeps of its accuracy as heads are removed, by importance and at random."""

    kind: Literal["pruning"] = "pruning"
    sources: tuple[PruningSource, ...] = Field(
        max_length=20,
        description='Rankings to remove heads by, e.g. [{"job": 12, "source": "attattr"}].',
    )
    random: int = Field(
        default=3, ge=0, le=100, description="Random orders of the heads to compare with."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the random orders.")
    steps: int = Field(
        default=10, ge=1, le=1000, description="Equal steps from no head to all heads."
    )
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None,
        max_length=1000,
        description="Shares of the heads to remove, from 0 to 1, instead of steps.",
    )
    directions: tuple[Direction, ...] = Field(
        default=("least", "most"),
        description="Which heads go first: 'least' important, 'most' important, or both.",
    )
    within_layer: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(), max_length=100, description="Also remove k heads of each layer, for these k."
    )
    preset: Literal["notebook"] | None = Field(
        default=None,
        description="'notebook' also removes the heads that the notebook's rule removes: "
        "importance from 0 to 255, up to the 35th percentile.",
    )
    within: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Also find the most heads that can go while accuracy falls by at most so many "
        "percentage points, chosen on half of the examples and verified on the other half.",
    )
    allow_overlap: bool = Field(
        default=False,
        description="Evaluate also on the examples that the heads were ranked with.",
    )

    @property
    def needs_gold(self) -> bool:
        """Accuracy and loss need it."""
        return True

    @property
    def fractions(self) -> tuple[float, ...]:
        """The shares of the heads that are removed."""
        if self.shares is not None:
            return self.shares
        return tuple(step / self.steps for step in range(self.steps + 1))

    def references(self) -> tuple[Reference, ...]:
        """The jobs that ranked the heads."""
        kinds = ("attribution", "importance")
        return tuple(
            Reference(field=f"sources.{place}.job", job=one.job, kinds=kinds, source=one.source)
            for place, one in enumerate(self.sources)
        )

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes: masks share the layers before the first difference, see `Curves.cost`."""
        every = layers * heads if self.within is not None else 0
        return 1 + 0.9 * (self._points() + every)

    def _points(self) -> int:
        """Most distinct masks of the curves; one that removes nothing, or all, is the same in all.

        Random orders have one direction: reversed they are random, too.
        """
        curves = len(self.sources) * len(self.directions) + self.random
        inner = sum(0 < share < 1 for share in self.fractions)
        preset = len(self.sources) if self.preset else 0
        return 2 + curves * (inner + len(self.within_layer)) + preset

    @field_validator("shares", "within_layer")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if value is None else tuple(sorted(set(value)))

    @field_validator("sources", "directions", "shares")
    @classmethod
    def _some_and_different(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        # Not pydantic's min_length, which also complains of a list of one faulty part.
        if value is not None and not value:
            raise ValueError("is empty")
        if value is not None and len(set(value)) < len(value):
            raise ValueError("names the same twice")
        return value

    @model_validator(mode="after")
    def _possible(self) -> PruningSpec:
        if self.data.label_column is None:
            raise ValueError("a pruning job needs data.label_column: gold labels")
        if self._points() > MOST_MASKS:
            raise ValueError(
                f"asks for up to {self._points():,} different masks, and at most {MOST_MASKS:,} "
                "are computed: give fewer steps, sources, random orders or within_layer"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a curve: which heads are removed, and why these."""

    source_no: int
    """Which of the job's sources; random orders come behind the last."""
    source: str
    draw: int
    direction: str
    """least, most, or any for random orders."""
    scope: str
    """global, layer, notebook, or choice: every number of heads, to choose from."""
    share: float
    removed: int
    mask_no: int


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All points of a job, and its distinct masks [M, S, H], the first of which removes nothing."""

    points: tuple[CurvePoint, ...]
    masks: Bools

    @property
    def cost(self) -> float:
        """Forward passes per example: a mask costs the layers from the first on where it differs
        from the mask before it, which is how they are computed (`headwise.pruning.masking`)."""
        first = (self.masks[1:] != self.masks[:-1]).any(2).argmax(1)
        return 1 + float((1 - first / self.masks.shape[1]).sum())


def curves(spec: PruningSpec, means: Sequence[Floats]) -> Curves:
    """The points of every curve from the sources' mean importance [S, H].

    Raises InputError where `within_layer` asks for more heads than a layer has.
    """
    found = _Collected(total=int((~np.isnan(means[0])).sum()))
    for number, (source, mean) in enumerate(zip(spec.sources, means, strict=True)):
        for direction in spec.directions:
            found.curve(spec, mean, number, source.source, 0, direction)
        if spec.preset:
            mask = notebook_mask(mean)[None]
            found.add(mask, number, source.source, 0, "least", "notebook")
    for draw in range(spec.random):
        # As `headwise.pruning.importance.random_importance`.
        values = np.random.default_rng([spec.seed, draw]).random(means[0].shape)
        mean = np.where(np.isnan(means[0]), np.nan, values)
        found.curve(spec, mean, len(spec.sources), "random", draw, "any")
    if spec.within is not None:
        masks, _ = curve_masks(means[0], steps=range(found.total + 1))
        found.add(masks, 0, spec.sources[0].source, 0, "least", "choice")
    return found.merged(means[0].shape)


class _Collected:
    """Points with the masks of each, to be merged."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.points: list[CurvePoint] = []
        self.masks: list[Bools] = []

    def curve(
        self, spec: PruningSpec, mean: Floats, number: int, source: str, draw: int, direction: str
    ) -> None:
        """The curve over all heads, and that within each layer."""
        way = "least" if direction == "any" else direction
        masks, _ = curve_masks(mean, shares=spec.fractions, direction=way)
        self.add(masks, number, source, draw, direction, "global")
        if not spec.within_layer:
            return
        try:
            masks, _ = curve_masks(mean, steps=spec.within_layer, direction=way, within_layer=True)
        except ValueError:
            most = int((~np.isnan(mean)).sum(1).max())
            given, remedy = spec.within_layer[-1], f"Give at most {most}."
            raise refuse("within_layer", given, "no layer has so many heads", remedy) from None
        self.add(masks, number, source, draw, direction, "layer")

    def add(
        self, masks: Bools, number: int, source: str, draw: int, direction: str, scope: str
    ) -> None:
        for mask in masks:
            removed = int(mask.sum())
            point = CurvePoint(
                source_no=number,
                source=source,
                draw=draw,
                direction=direction,
                scope=scope,
                share=removed / self.total,
                removed=removed,
                mask_no=0,
            )
            self.points.append(point)
            self.masks.append(mask)

    def merged(self, shape: tuple[int, ...]) -> Curves:
        every = np.stack([np.zeros(shape, dtype=bool), *self.masks])
        flat, place = np.unique(every.reshape(len(every), -1), axis=0, return_inverse=True)
        numbers = place.reshape(-1)[1:].tolist()
        points = tuple(
            CurvePoint(**{**point.__dict__, "mask_no": number})
            for point, number in zip(self.points, numbers, strict=True)
        )
        return Curves(points=points, masks=flat.reshape(-1, *shape))


@dataclass(frozen=True, kw_only=True)
class PruningResult(ShardResult):
    """What masks make of a shard's examples."""

    halves: tuple[MaskSums, MaskSums]
    """Sums of the examples with even and with odd numbers: one half chooses, the other verifies."""

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Sums add up."""
        if name == "halves":
            return tuple(reduce(add, half) for half in zip(*values, strict=True))
        return super().join(name, values)
