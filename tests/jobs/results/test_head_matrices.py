"""Whole matrices of heads, packed: nothing is lost, and how many heads fit."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.kinds.attribution import AttributionResult
from jobs.results.head_matrices import (
    LAYER_BYTES,
    MOST_TOKENS,
    HeadMatrix,
    pack,
    stored_heads,
    unpack,
)
from jobs.results.serialization import from_bytes, to_bytes
from tests.helpers.jobs import result_of


@pytest.mark.parametrize("n", [1, 7, MOST_TOKENS])
def test_a_matrix_comes_back_as_it_was(n: int) -> None:
    draw = np.random.default_rng(n)
    given = (draw.standard_normal((n, n)) * 10.0 ** draw.integers(-9, 3, (n, 1))).astype(np.float32)
    found = unpack(pack(given))
    assert found.dtype == np.float32
    assert (found == given).all()


def test_rows_that_no_classifier_reads_take_next_to_nothing() -> None:
    given = np.zeros((128, 128), dtype=np.float32)
    given[0] = np.random.default_rng(0).standard_normal(128)
    assert len(pack(given)) < 1_000


def test_all_heads_of_a_layer_are_stored_as_long_as_they_are_small() -> None:
    assert stored_heads(12, 3, 128) == tuple(range(12))
    assert 12 * 128**2 * 8 < LAYER_BYTES < 64 * 128**2 * 8
    assert stored_heads(64, 3, 128) == (3,)
    assert stored_heads(64, 3, 20) == tuple(range(64))


def test_results_keep_the_matrices_of_their_examples() -> None:
    """In parts, joined, and as the bytes of a stopped attempt."""
    cells = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    matrices = tuple(
        (HeadMatrix(site=0, head=number, attention=one, attribution=-one),)
        for number, one in enumerate(cells)
    )
    whole = AttributionResult(**{**vars(result_of(0, 3)), "matrices": matrices})
    first, rest = whole.divided([1, 2])
    assert [one[0].head for one in rest.matrices] == [1, 2]
    joined = AttributionResult.joined([first, rest])
    assert [one[0].head for one in joined.matrices] == [0, 1, 2]
    read = from_bytes(AttributionResult, to_bytes(joined))
    assert (read.matrices[2][0].attribution == -cells[2]).all()
    plain = result_of(0, 3)
    assert AttributionResult.joined(plain.divided([1, 2])).matrices == ()
