"""Which heads go: masks bool [M, S, H], True for a removed head, from importances [S, H]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwise.stats.ranking import ranks

Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

DIRECTIONS = ("least", "most")
SHARES = tuple(step / 20 for step in range(21))
NOTEBOOK_QUANTILE = 0.35


def heads_of(mean: Floats) -> Longs:
    """Heads of each site, [S]; those that a site does not have are NaN, behind the others."""
    heads: Longs = (~np.isnan(mean)).sum(1)
    return heads


def curve_masks(
    mean: Floats,
    *,
    shares: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    direction: str = "least",
    within_layer: bool = False,
) -> tuple[Bools, Longs]:
    """Masks [M, S, H] that remove ever more heads, and how many each removes, [M].

    mean: importance [S, H], NaN for heads that a site does not have
    shares: of all heads, 0 to 1; twenty-one by default
    steps: numbers of heads, instead of shares
    direction: ``least`` or ``most`` important first. Ties count as more important in order of
        site and head, so that the heads of the two directions complement each other.
    within_layer: shares and steps are of the heads of each site by itself, its top or bottom k

    Raises ValueError for an unknown direction, both shares and steps, or such as there are not.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} is unknown; use 'least' or 'most'")
    if shares is not None and steps is not None:
        raise ValueError("give either shares or steps, not both")
    place = (
        np.stack([ranks(row[None])[0] for row in mean]) if within_layer else ranks(mean[None])[0]
    )
    heads = heads_of(mean)
    totals = heads if within_layer else np.full(len(heads), heads.sum())
    counts = _counts(totals, shares, steps)
    if direction == "most":
        masks = place <= counts[:, :, None]
    else:
        masks = place > (totals - counts)[:, :, None]
    masks &= place > 0
    return masks, masks.sum((1, 2))


def _counts(totals: Longs, shares: Sequence[float] | None, steps: Sequence[int] | None) -> Longs:
    """How many of each site's total go at each point, [M, S]."""
    if steps is not None:
        if any(not 0 <= step <= totals.max() for step in steps):
            raise ValueError(f"steps must be from 0 to {totals.max()} heads, not {list(steps)}")
        return np.minimum(np.array(steps, dtype=np.int64)[:, None], totals)
    shares = SHARES if shares is None else shares
    if any(not 0 <= share <= 1 for share in shares):
        raise ValueError(f"shares must be from 0 to 1, not {list(shares)}")
    counts: Longs = np.floor(np.array(shares)[:, None] * totals + 0.5).astype(np.int64)
    return counts


def notebook_levels(mean: Floats) -> NDArray[np.int64]:
    """Importance as the notebook shows it: min-max to whole numbers 0..255, [S, H]; -1 where NaN.

    The largest becomes 254 where the range is not far above 1e-11, as there.
    """
    low, high = np.nanmin(mean), np.nanmax(mean)
    scaled = 255 * (mean.astype(np.float64) - low) / (high - low + 1e-11)
    return np.where(np.isnan(mean), -1, np.nan_to_num(scaled)).astype(np.int64)


def notebook_mask(mean: Floats) -> Bools:
    """The notebook's rule, [S, H]: a head stays if its level is above the threshold.

    The threshold is the level at place int(0.35 n) of all n levels in ascending order; heads that
    are at it go as well, so that more than 35 % may go.
    """
    levels = notebook_levels(mean)
    real = levels >= 0
    ordered = np.sort(levels[real])
    mask: Bools = real & (levels <= ordered[int(len(ordered) * NOTEBOOK_QUANTILE)])
    return mask
