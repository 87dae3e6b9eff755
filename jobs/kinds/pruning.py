"""Pruning jobs: the specification, the points of the curves, and the result of a shard.

Heads are removed in the order of their importance (Hao et al., AAAI 2021, section 4.2).
`headwise.stats.curve` orders the heads, `headwise.pruning.masking` runs the model without them.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from headwise.models.labels import Outputs
from headwise.stats.curve import Bools, Floats, curve_masks, notebook_mask
from headwise.stats.sums import MaskSums
from jobs.errors import InputError, Problem, refuse
from jobs.results.base import ShardResult, SiteInfo
from jobs.specs.base import Frozen, JobNumber, JobSpec, Reference, at

RANDOM = "random"
"""Stands for a source where the order of the heads is random."""
MOST_MASKS = 2000
"""Masks that a job may ask for: a hundred examples take minutes with so many."""


class Direction(StrEnum):
    """The end of an order from which heads are removed."""

    LEAST = "least"
    """The least important ones."""
    MOST = "most"
    ANY = "any"
    """Either: a random order has no least important heads."""


class PruningScope(StrEnum):
    """The rule by which a point of a curve removes heads."""

    GLOBAL = "global"
    """A share of all heads."""
    LAYER = "layer"
    """The same number in each layer."""
    NOTEBOOK = "notebook"
    """The rule of the notebook that circulates."""
    CHOICE = "choice"
    """Every number of heads, to choose the largest acceptable one from."""


class PruningSource(Frozen):
    """A ranking of heads that an earlier job left."""

    job: JobNumber = Field(description="Number of a job that ranks heads.")
    source: str = Field(
        default="attattr",
        max_length=100,
        description="Which of its rankings: a source of importance.",
    )


class PruningSpec(JobSpec):
    """Accuracy and loss of the model as heads are removed, by importance and at random."""

    kind: Literal["pruning"] = "pruning"
    sources: tuple[PruningSource, ...] = Field(
        max_length=20,
        description='Rankings to remove heads by, e.g. [{"job": 12, "source": "attattr"}].',
    )
    random: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Random orders of the heads to compare with; 0 for none.",
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
    directions: tuple[Literal["least", "most"], ...] = Field(
        default=("least", "most"),
        description="Which heads go first: 'least' important, 'most' important, or both.",
    )
    within_layer: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(), max_length=100, description="Also remove k heads of each layer, for these k."
    )
    attention_types: tuple[Literal["encoder", "decoder", "cross"], ...] = Field(
        default=(),
        exclude_if=operator.not_,  # the hashes of specifications from before it stay the same
        description="Remove heads of these types of attention alone. Default: of all.",
    )
    layers: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] = Field(
        default=(),
        max_length=1000,
        exclude_if=operator.not_,
        description="Remove heads of these layers alone, numbered from 0. Default: of all.",
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
        description="Also find the most heads that can be removed, by the first ranking, while "
        "accuracy falls by at most this many percentage points: chosen on half of the examples, "
        "verified on the other half.",
    )
    allow_overlap: bool = Field(
        default=False,
        description="Evaluate also on the examples that the heads were ranked with.",
    )

    @property
    def needs_gold(self) -> bool:
        """Always: accuracy and loss need it."""
        return True

    def left_out_jobs(self, pending: Collection[int] = ()) -> tuple[int, ...]:
        """Those that ranked the heads."""
        if self.allow_overlap:
            return ()
        return tuple(sorted({one.job for one in self.sources} - set(pending)))

    def nothing_left(self, examples: int) -> Problem:
        """Data that the heads were ranked with, which one may evaluate on, but must say so."""
        remedy = "Give other examples, or set allow_overlap to evaluate on these."
        return replace(super().nothing_left(examples), remedy=remedy)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Shares of the heads to remove, at each point of a curve."""
        if self.shares is not None:
            return self.shares
        return tuple(step / self.steps for step in range(self.steps + 1))

    def references(self) -> tuple[Reference, ...]:
        """The jobs that ranked the heads."""
        return tuple(
            Reference(field=f"sources.{place}.job", job=one.job, source=one.source)
            for place, one in enumerate(self.sources)
        )

    def misfits(self, labels: tuple[str, ...], outputs: Outputs) -> list[Problem]:
        """A model with a single output, which has no classes."""
        return self.classless(outputs, Outputs.CLASSES)

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes; masks share the layers before the first difference, see `Curves.cost`."""
        every = layers * heads if self.within is not None else 0
        return 1 + 0.9 * (self._points() + every)

    def _points(self) -> int:
        """Count the masks of the curves, at most: those that remove no head or all are shared.

        Random orders have one direction, as they are random in reverse, too.
        """
        curves = len(self.sources) * len(self.directions) + self.random
        inner = sum(0 < share < 1 for share in self.fractions)
        preset = len(self.sources) if self.preset else 0
        return 2 + curves * (inner + len(self.within_layer)) + preset

    def removes_from(self, attention_type: str, layer: int) -> bool:
        """Tell whether heads of a site may be removed."""
        return (not self.attention_types or attention_type in self.attention_types) and (
            not self.layers or layer in self.layers
        )

    @field_validator("shares", "within_layer", "layers")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if value is None else tuple(sorted(set(value)))

    @field_validator("sources", "directions", "shares", "attention_types")
    @classmethod
    def _some_and_different(
        cls, value: tuple[object, ...] | None, info: ValidationInfo
    ) -> tuple[object, ...] | None:
        # pydantic's min_length would also report a list with one faulty part.
        if value is not None and not value and info.field_name != "attention_types":
            raise ValueError("is empty")
        if value is not None and len(set(value)) < len(value):
            raise ValueError("names the same twice")
        return value

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """Accuracy and loss."""
        return "a pruning job needs data.label_column: gold labels"

    @model_validator(mode="after")
    def _possible(self) -> PruningSpec:
        if self._points() > MOST_MASKS:
            message = (
                f"asks for up to {self._points():,} different masks, and at most {MOST_MASKS:,} "
                "are computed: give fewer steps, sources, random orders or within_layer"
            )
            raise at("steps", message)
        return self


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of the heads in which they are removed."""

    source_no: int
    """Index of the job's source; random orders come after the last one."""
    source: str
    draw: int = 0
    direction: Direction = Direction.LEAST


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Order):
    """One point of a curve: the heads that are removed, and the rule that chose them."""

    scope: PruningScope
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
        """Forward passes per example.

        A mask costs the layers from the first on where it differs from the mask before it, which
        is how `headwise.pruning.masking` computes them.
        """
        first = (self.masks[1:] != self.masks[:-1]).any(2).argmax(1)
        return 1 + float((1 - first / self.masks.shape[1]).sum())


def curves(spec: PruningSpec, means: Sequence[Floats], sites: Sequence[SiteInfo]) -> Curves:
    """The points of every curve from the sources' mean importance [S, H] and the S sites.

    Raises InputError where no head may be removed, and where `within_layer` asks for more heads
    than a layer has.
    """
    removable = np.array([[spec.removes_from(site.attention_type, site.layer)] for site in sites])
    means = [np.where(removable, mean, np.nan) for mean in means]
    for source, mean in zip(spec.sources, means, strict=True):
        if np.isnan(mean).all():
            raise _no_heads(spec, source, sites)
    found = _Collected(total=int((~np.isnan(means[0])).sum()))
    for number, (source, mean) in enumerate(zip(spec.sources, means, strict=True)):
        order = Order(source_no=number, source=source.source)
        for direction in spec.directions:
            found.curve(spec, mean, replace(order, direction=Direction(direction)))
        if spec.preset:
            found.add(notebook_mask(mean)[None], order, PruningScope.NOTEBOOK)
    for draw in range(spec.random):
        # The same draws as `headwise.pruning.importance.random_importance`.
        values = np.random.default_rng([spec.seed, draw]).random(means[0].shape)
        mean = np.where(np.isnan(means[0]), np.nan, values)
        order = Order(
            source_no=len(spec.sources), source=RANDOM, draw=draw, direction=Direction.ANY
        )
        found.curve(spec, mean, order)
    if spec.within is not None:
        masks, _ = curve_masks(means[0], steps=range(found.total + 1))
        found.add(masks, Order(source_no=0, source=spec.sources[0].source), PruningScope.CHOICE)
    return found.merged(means[0].shape)


def _no_heads(spec: PruningSpec, source: PruningSource, sites: Sequence[SiteInfo]) -> InputError:
    types = ", ".join(sorted({site.attention_type for site in sites}))
    last = max(site.layer for site in sites)
    return refuse(
        "layers" if spec.layers else "attention_types",
        ", ".join(map(str, spec.layers or spec.attention_types)),
        f"leaves no head that {source.source} of job {source.job} ranks",
        f"The model has layers 0 to {last}, with attention of type {types}.",
    )


class _Collected:
    """The points of all curves, and the mask of each."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.points: list[CurvePoint] = []
        self.masks: list[Bools] = []

    def curve(self, spec: PruningSpec, mean: Floats, order: Order) -> None:
        """Add the curve over all heads, and the one within each layer."""
        way = "least" if order.direction is Direction.ANY else order.direction.value
        masks, _ = curve_masks(mean, shares=spec.fractions, direction=way)
        self.add(masks, order, PruningScope.GLOBAL)
        if not spec.within_layer:
            return
        try:
            masks, _ = curve_masks(mean, steps=spec.within_layer, direction=way, within_layer=True)
        except ValueError:
            most = int((~np.isnan(mean)).sum(1).max())
            given, remedy = spec.within_layer[-1], f"Give at most {most}."
            raise refuse("within_layer", given, "no layer has so many heads", remedy) from None
        self.add(masks, order, PruningScope.LAYER)

    def add(self, masks: Bools, order: Order, scope: PruningScope) -> None:
        """Add a point for each mask."""
        for mask in masks:
            removed = int(mask.sum())
            share = removed / self.total
            point = CurvePoint(**vars(order), scope=scope, share=share, removed=removed, mask_no=0)
            self.points.append(point)
            self.masks.append(mask)

    def merged(self, shape: tuple[int, ...]) -> Curves:
        """Number the distinct masks, and refer each point to its own."""
        every = np.stack([np.zeros(shape, dtype=bool), *self.masks])
        flat, place = np.unique(every.reshape(len(every), -1), axis=0, return_inverse=True)
        numbers = place.reshape(-1)[1:].tolist()
        points = tuple(
            replace(point, mask_no=number)
            for point, number in zip(self.points, numbers, strict=True)
        )
        return Curves(points=points, masks=flat.reshape(-1, *shape))


@dataclass(frozen=True, kw_only=True)
class PruningResult(ShardResult):
    """Sums over the examples of a shard with the heads of each mask removed."""

    halves: tuple[MaskSums, MaskSums]
    """Sums over the examples with even and with odd numbers: one half chooses the mask, the other
    one verifies it."""

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Add the sums up."""
        if name == "halves":
            return tuple(reduce(operator.add, half) for half in zip(*values, strict=True))
        return super().join(name, values)

    def divided(self, counts: Sequence[int]) -> list[Self]:
        """The first part has all sums: nothing tells those of single examples apart."""
        first, *others = super().divided(counts)
        even, odd = (half.without_examples() for half in self.halves)
        return [first, *(replace(other, halves=(even, odd)) for other in others)]


SPEC, RESULT = PruningSpec, PruningResult
