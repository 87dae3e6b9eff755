"""Masks of removed heads, bool [M, S, H], True for a removed head, from importances [S, H]."""

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
    """Return the number of heads of each site, [S]; heads that a site does not have are NaN."""
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
    """Return masks that remove more and more heads, bool [M, S, H], and their numbers, [M].

    mean: importance [S, H], NaN for heads that a site does not have
    shares: shares of all heads, 0 to 1; by default 0, 0.05, ..., 1
    steps: numbers of heads, instead of shares
    direction: ``least`` or ``most`` important heads first. Among ties, the first by site and head
        counts as the most important, so that the two directions complement each other.
    within_layer: shares and steps apply to the heads of each site separately

    Raises ValueError for an unknown direction, for both shares and steps, and for values out of
    range.
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
    """Number of heads to remove from each site's total at each point, [M, S]."""
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
    """Scale importance to integers from 0 to 255, as in the notebook, [S, H]; -1 where NaN.

    As there, the largest becomes 254 if the range is not far above 1e-11.
    """
    low, high = np.nanmin(mean), np.nanmax(mean)
    scaled = 255 * (mean.astype(np.float64) - low) / (high - low + 1e-11)
    return np.where(np.isnan(mean), -1, np.nan_to_num(scaled)).astype(np.int64)


def notebook_mask(mean: Floats) -> Bools:
    """Return the mask by the rule of the notebook, [S, H]: a head above the threshold stays.

    The threshold is the level at index int(0.35 n) of all n levels in ascending order; heads at the
    threshold are removed too, so more than 35 % may be removed.
    """
    levels = notebook_levels(mean)
    real = levels >= 0
    ordered = np.sort(levels[real])
    mask: Bools = real & (levels <= ordered[int(len(ordered) * NOTEBOOK_QUANTILE)])
    return mask
