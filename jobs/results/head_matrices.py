"""The whole matrices of heads on an example, and their bytes in the database."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from jobs.results.base import Floats

MOST_TOKENS = 128
"""Tokens of the longest text whose matrices are stored: a head takes 8 bytes for each pair of them,
131,072, and its picture 16,384 cells on either side."""
LAYER_BYTES = 4 << 20
"""All heads of a layer are stored together up to this size; above it the one that is asked for."""
_CELL = "<f4"
_FASTEST = 1


@dataclass(frozen=True, kw_only=True)
class HeadMatrix:
    """A head's matrices on one example, float32 [n, n]; rows are queries, columns keys."""

    site: int
    head: int
    attention: Floats
    """Probabilities."""
    attribution: Floats


def pack(matrix: Floats) -> bytes:
    """Pack a square matrix: float32, row by row, compressed.

    The last layer has zeros in all rows but those that the classifier reads.
    """
    return zlib.compress(np.ascontiguousarray(matrix, dtype=_CELL).tobytes(), _FASTEST)


def unpack(packed: bytes) -> Floats:
    """Read a square matrix, float32 [n, n]."""
    cells = np.frombuffer(zlib.decompress(packed), dtype=_CELL)
    n = math.isqrt(len(cells))
    return cells.reshape(n, n)


def stored_heads(heads: int, head: int, tokens: int) -> tuple[int, ...]:
    """The heads of a layer to store where one of them is asked for: all, if they are small."""
    small = heads * tokens**2 * 2 * np.dtype(_CELL).itemsize <= LAYER_BYTES
    return tuple(range(heads)) if small else (head,)
