"""Attribution by words: sums over the pieces of each word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwise.errors import OptionError
from headwise.replay import Site

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WordPair:
    """One cell of the attribution of a head, summed over the pieces of two words."""

    site: Site
    head: int
    query: int
    key: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Words:
    """The w words of one example; special tokens are words, too, so that no attribution is lost.

    texts: the words as in the text, [w]
    pieces: positions of the tokens of each word
    attribution: sum of Attr over heads and queries, by key word, float32 [S, w]
    by_head: sum of Attr over queries, by head and key word, float32 [S, H, w], or None if the
        result has neither matrices nor head_token_attribution
    matrix: Attr summed over the pieces of the query word and of the key word, float32
        [S, H, w, w], or None if the result has no matrices
    """

    sites: tuple[Site, ...]
    texts: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    attribution: Floats
    by_head: Floats | None
    matrix: Floats | None

    def pairs(self, k: int) -> tuple[WordPair, ...]:
        """Return the k largest cells over all sites and heads, largest first.

        Raises OptionError if the result has no matrices.
        """
        if self.matrix is None:
            raise OptionError("matrices were not kept; use attribute(..., matrices=True)")
        ranked = np.where(np.isnan(self.matrix), -math.inf, self.matrix).ravel()
        order = np.argsort(-ranked, kind="stable")[:k]
        cells = np.stack(np.unravel_index(order, self.matrix.shape), axis=1).tolist()
        return tuple(
            WordPair(site=self.sites[site], head=head, query=query, key=key, value=float(value))
            for (site, head, query, key), value in zip(cells, ranked[order], strict=True)
            if math.isfinite(value)
        )


def merge_pieces(
    sites: tuple[Site, ...],
    texts: Sequence[str],
    index: Sequence[int],
    by_token: Floats,
    by_head: Floats | None,
    matrix: Floats | None,
) -> Words:
    """Sum attribution over the pieces of words.

    texts: the words
    index: index of the word of each token, [n]
    by_token: attribution by key token, [S, n]
    by_head: the same by head, [S, H, n], or None
    matrix: Attr, [S, H, n, n], or None
    """
    belongs = np.zeros((len(index), len(texts)))
    belongs[np.arange(len(index)), list(index)] = 1
    merged = None if matrix is None else (belongs.T @ matrix @ belongs).astype(np.float32)
    if matrix is not None:
        by_head = matrix.sum(2)
    return Words(
        sites=sites,
        texts=tuple(texts),
        pieces=tuple(tuple(np.flatnonzero(column).tolist()) for column in belongs.T),
        attribution=(by_token @ belongs).astype(np.float32),
        by_head=None if by_head is None else (by_head @ belongs).astype(np.float32),
        matrix=merged,
    )
