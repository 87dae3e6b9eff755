"""The amount that every head reads of each token, packed for the database.

The values of a head are multiples of its largest one, in half precision, which is exact to three
digits however small the head's attribution is. Of a long text each head keeps its strongest tokens
alone, so that an example takes at most 260 bytes per head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobs.results import Floats

WHOLE = 128
"""Up to this many tokens, all are kept."""
STRONGEST = 64
"""Tokens that a head keeps of a longer text."""

_SIZES, _SCALE, _SHARE, _PLACE = "<u2", "<f4", "<f2", "<u2"


def pack(values: Floats) -> bytes:
    """Pack the attribution of key tokens by head, [S, H, n]; NaN where a site has no such head."""
    sites, heads, length = values.shape
    scale = np.abs(values).max(axis=2, initial=0).astype(_SCALE)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(scale[..., None] == 0, 0, values / scale[..., None])
    parts = [np.array([sites, heads, length], dtype=_SIZES), scale]
    if length > WHOLE:
        places = np.sort(np.argpartition(-np.abs(shares), STRONGEST, axis=2)[..., :STRONGEST])
        shares = np.take_along_axis(shares, places, axis=2)
        parts.append(places.astype(_PLACE))
    return b"".join(part.tobytes() for part in (*parts, shares.astype(_SHARE)))


def unpack_head(packed: bytes, site: int, head: int) -> list[float] | None:
    """Read the attribution of each key token by one head, [n]; None if there is no such head.

    Tokens of a long text that were not among the head's strongest are NaN.
    """
    sites, heads, length = np.frombuffer(packed, dtype=_SIZES, count=3).tolist()
    if not (site < sites and head < heads):
        return None
    row, rows, kept = site * heads + head, sites * heads, min(length, WHOLE)
    place = 3 * np.dtype(_SIZES).itemsize
    scale = np.frombuffer(packed, _SCALE, rows, place)[row]
    place += rows * np.dtype(_SCALE).itemsize
    found = np.full(length, np.nan)
    where: slice | NDArray[np.integer] = slice(None)
    if length > WHOLE:
        kept = STRONGEST
        where = np.frombuffer(packed, _PLACE, rows * kept, place).reshape(rows, kept)[row]
        place += rows * kept * np.dtype(_PLACE).itemsize
    shares = np.frombuffer(packed, _SHARE, rows * kept, place).reshape(rows, kept)[row]
    found[where] = shares.astype(np.float64) * scale
    values: list[float] = found.tolist()
    return None if np.isnan(scale) else values
