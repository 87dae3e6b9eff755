"""Accuracy as heads are removed in the order of their importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.encoding import Encoded, Text
from headwise.errors import OptionError
from headwise.pruning.masking import Arguments, MaskEvaluation, Texts, evaluate_masks
from headwise.stats.curve import DIRECTIONS, Bools, Floats, curve_masks, heads_of, notebook_mask
from headwise.stats.ranking import Importance
from headwise.stats.shares import Estimate
from headwise.stats.sums import MaskSums, choose_step
from headwise.targets import Label

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Choice",
    "Point",
    "PruneCurve",
    "choose",
    "curve_masks",
    "curve_points",
    "notebook_mask",
    "overlap",
    "prune_curve",
    "require_disjoint",
]

Ranking = Importance | Floats
"""An importance, or its means [S, H] alone; NaN for heads that a site does not have."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a curve.

    source: of the importance
    draw: number of the ranking, from 0, for a source with several
    direction: ``least`` or ``most`` important heads first
    removed: number of removed heads
    share: removed heads relative to all heads
    mask: index of the mask
    """

    source: str
    draw: int
    direction: str
    removed: int
    share: float
    mask: int


@dataclass(frozen=True, kw_only=True)
class PruneCurve:
    """Curves of several sources and directions; points that remove the same heads share a mask.

    points: the points of all curves
    evaluation: of the M different masks
    within_layer: shares apply to the heads of each site separately
    """

    points: tuple[Point, ...]
    evaluation: MaskEvaluation
    within_layer: bool

    def to_dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with one row per point.

        Columns are the fields of ``Point``, n, failed, and accuracy, macro_f1 and loss, each with
        its 95 % interval, such as ``accuracy_low`` and ``accuracy_high``.
        """
        import pandas as pd  # slow to import, and optional

        sums = self.evaluation.sums()
        frame = pd.DataFrame([vars(point) for point in self.points])
        place = frame["mask"].to_numpy()
        frame["n"], frame["failed"] = sums.n[place], sums.failed[place]
        for name, estimate in _estimates(sums).items():
            frame[name] = estimate.value[place]
            frame[f"{name}_low"], frame[f"{name}_high"] = estimate.low[place], estimate.high[place]
        return frame


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The largest number of heads to remove, found on some examples and verified on others.

    removed: number of heads
    mask: the removed heads, bool [S, H]
    steps: the numbers of heads that were tried, int64 [K]
    search: sums for the tried masks, in order
    held_out: sums for the whole model and the chosen mask, on the held-out examples
    points: allowed loss of accuracy, in percentage points
    """

    removed: int
    mask: Bools
    steps: NDArray[np.int64]
    search: MaskSums
    held_out: MaskSums
    points: float

    @property
    def verified(self) -> bool:
        """The loss of accuracy on the held-out examples is within ``points``, too."""
        return choose_step(self.held_out, self.points) == 1


def curve_points(
    importances: Mapping[str, Ranking | Sequence[Ranking]],
    *,
    shares: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    directions: Sequence[str] = DIRECTIONS,
    within_layer: bool = False,
) -> tuple[tuple[Point, ...], Bools]:
    """Return the points of all curves, and their different masks, bool [M, S, H].

    importances: by source, one ranking or several, as for random ones

    The other arguments are those of ``curve_masks``. Raises OptionError for bad arguments.
    """
    parts: list[Bools] = []
    labels: list[tuple[str, int, str, int, float]] = []
    for source, given in importances.items():
        rankings = given if isinstance(given, Sequence) else [given]
        for draw, ranking in enumerate(rankings):
            mean = ranking.mean if isinstance(ranking, Importance) else ranking
            total = int(heads_of(mean).sum())
            for direction in directions:
                try:
                    masks, removed = curve_masks(
                        mean,
                        shares=shares,
                        steps=steps,
                        direction=direction,
                        within_layer=within_layer,
                    )
                except ValueError as error:
                    raise OptionError(str(error)) from error
                parts.append(masks)
                labels += [(source, draw, direction, int(k), int(k) / total) for k in removed]
    if not parts:
        raise OptionError("a curve needs at least one importance and one direction")
    every = np.concatenate(parts)
    flat, place = np.unique(every.reshape(len(every), -1), axis=0, return_inverse=True)
    points = tuple(
        Point(source=s, draw=d, direction=way, removed=k, share=share, mask=int(mask))
        for (s, d, way, k, share), mask in zip(labels, place.reshape(-1), strict=True)
    )
    return points, flat.reshape(-1, *every.shape[1:])


def prune_curve(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    texts: Texts,
    labels: Sequence[Label],
    importances: Mapping[str, Ranking | Sequence[Ranking]],
    *,
    importance_texts: Texts = (),
    allow_overlap: bool = False,
    shares: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    directions: Sequence[str] = DIRECTIONS,
    within_layer: bool = False,
    **arguments: Unpack[Arguments],
) -> PruneCurve:
    """Evaluate the curves of several importances together, equal masks once.

    importance_texts: the texts on which importance was measured; none of them may be among
        ``texts``, unless ``allow_overlap`` is set, as in the paper's code

    The other arguments are those of ``curve_points`` and ``evaluate_masks``. Raises OptionError for
    bad arguments and for overlap.
    """
    if not allow_overlap:
        require_disjoint(importance_texts, texts)
    points, masks = curve_points(
        importances, shares=shares, steps=steps, directions=directions, within_layer=within_layer
    )
    evaluation = evaluate_masks(model, tokenizer, texts, labels, masks, **arguments)
    return PruneCurve(points=points, evaluation=evaluation, within_layer=within_layer)


def choose(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    search: tuple[Texts, Sequence[Label]],
    held_out: tuple[Texts, Sequence[Label]],
    importance: Ranking,
    points: float,
    *,
    steps: Sequence[int] | None = None,
    **arguments: Unpack[Arguments],
) -> Choice:
    """Find how many heads can be removed, least important first, within a loss of accuracy.

    Accuracy does not fall monotonically with the number of heads, so all steps are tried, and the
    largest within the allowed loss is taken. As the best of many, it looks better than it is on the
    examples of the search; held-out examples verify it.

    search, held_out: texts with gold labels; no text may be in both
    points: allowed loss of accuracy on the examples of the search, in percentage points
    steps: numbers of heads to try; all by default
    arguments: see ``evaluate_masks``

    Raises OptionError for a bad argument, or for texts that are in both.
    """
    if not 0 <= points <= 100:
        raise OptionError(f"points must be from 0 to 100, not {points!r}")
    require_disjoint(search[0], held_out[0])
    mean = importance.mean if isinstance(importance, Importance) else importance
    tried = sorted({0, *(range(int(heads_of(mean).sum()) + 1) if steps is None else steps)})
    try:
        masks, removed = curve_masks(mean, steps=tried)
    except ValueError as error:
        raise OptionError(str(error)) from error
    sums = evaluate_masks(model, tokenizer, *search, masks, **arguments).sums()
    best = choose_step(sums, points)
    both = masks[[0, best]]
    verified = evaluate_masks(model, tokenizer, *held_out, both, **arguments).sums()
    return Choice(
        removed=int(removed[best]),
        mask=masks[best],
        steps=removed,
        search=sums,
        held_out=verified,
        points=points,
    )


def overlap(importance_texts: Texts, texts: Texts) -> list[int]:
    """Return the indices of the texts on which importance was measured, by content."""
    known = {_content(text) for text in importance_texts}
    return [number for number, text in enumerate(texts) if _content(text) in known]


def require_disjoint(importance_texts: Texts, texts: Texts) -> None:
    """Raise OptionError if a text is in both."""
    both = overlap(importance_texts, texts)
    if both:
        raise OptionError(
            f"{len(both)} of {len(texts)} texts were used before, the first is texts[{both[0]}]: "
            "evaluate on other examples, or allow overlap where you reproduce such a run"
        )


def _content(text: Text | Encoded) -> tuple[Any, ...]:
    if isinstance(text, Encoded):
        return (text.ids, text.token_types)
    return (text,) if isinstance(text, str) else tuple(text)


def _estimates(sums: MaskSums) -> dict[str, Estimate]:
    return {"accuracy": sums.accuracy(), "macro_f1": sums.macro_f1(), "loss": sums.loss()}
