"""The amount that every head reads of each token, packed for the database.

The values of a head are shares of its largest one, whose square roots are stored in 127 steps: the
largest are exact to 0.8 %, a tenth of it to 3 %, a hundredth to 8 %, however small the head's
attribution is. Equal steps would leave nothing of the words where a separator has nearly all. Of a
long text each head keeps its strongest tokens alone, so that an example takes at most 196 bytes per
head.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobs.results.base import Floats

WHOLE = 128
"""Up to this many tokens, all are kept."""
STRONGEST = 64
"""Tokens that a head keeps of a longer text."""
STEPS = 127
"""Steps from zero to the root of the largest share, in either direction."""

_SIZES, _SCALE, _PLACE = "<u2", "<f4", "<u2"
_FORMAT = b"\0\0\2"
"""The first bytes. Those of earlier releases begin with the number of sites, which is not zero,
and hold shares of the largest value in half precision."""
_STEP, _HALF = "<i1", "<f2"


def pack(values: Floats) -> bytes:
    """Pack the attribution of key tokens by head, [S, H, n]; NaN where a site has no such head."""
    sites, heads, length = values.shape
    scale = np.abs(values).max(axis=2, initial=0).astype(_SCALE)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(scale[..., None] == 0, 0, values / scale[..., None])
    sizes = np.array([sites, heads, length], dtype=_SIZES)
    parts = [sizes, scale]
    if length > WHOLE:
        places = np.sort(np.argpartition(-np.abs(shares), STRONGEST, axis=2)[..., :STRONGEST])
        shares = np.take_along_axis(shares, places, axis=2)
        parts.append(places.astype(_PLACE))
    # A head that does not exist is known by its scale.
    shares = np.nan_to_num(shares)
    steps = np.rint(np.sign(shares) * np.sqrt(np.abs(shares)) * STEPS).astype(_STEP)
    return _FORMAT + b"".join(part.tobytes() for part in (*parts, steps))


def unpack_head(packed: bytes, site: int, head: int) -> list[float] | None:
    """Read the attribution of each key token by one head, [n]; None if there is no such head.

    Tokens of a long text that were not among the head's strongest are NaN.
    """
    rooted = packed.startswith(_FORMAT)
    if rooted:
        packed = packed[len(_FORMAT) :]
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
    kind = _STEP if rooted else _HALF
    shares = np.frombuffer(packed, kind, rows * kept, place).reshape(rows, kept)[row].astype(float)
    if rooted:
        shares = np.sign(shares) * (shares / STEPS) ** 2
    found[where] = shares * scale
    values: list[float] = found.tolist()
    return None if np.isnan(scale) else values
