"""The cells that are kept for trees, against their definition in plain Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headwise.attribution.cells import BatchCells, _rounded, interactions
from headwise.trees import Interactions
from headwise.trees.cells import FLOOR, MAX_CELLS, is_last
from tests.helpers.trees import THREE, Place

ENCODER = (Place(0), Place(1), Place(2))
DECODER = (Place(0, "decoder"), Place(0, "cross"), Place(1, "decoder"), Place(1, "cross"))


@pytest.mark.parametrize("sites", [ENCODER, DECODER], ids=["encoder", "decoder"])
@pytest.mark.parametrize("seed", range(40))
def test_a_batch_keeps_what_the_definition_keeps(sites: Sequence[Place], seed: int) -> None:
    """Padding, equal cells, layers without a positive cell and NaN included."""
    rng = np.random.default_rng(seed)
    lengths = [9, *rng.integers(1, 10, 2).tolist()]
    values = rng.standard_normal((len(sites), 3, 9, 9)).astype(np.float32) ** 3
    if seed % 2:
        values = values.round(1)
    values[0] *= (-abs(np.sign(values[0])), 1)[seed % 3 > 0]
    values[1, 0, 0, 0] = (np.nan, 1)[seed % 5 > 0]
    for example, length in enumerate(lengths):
        values[:, example, length:] = values[:, example, :, length:] = 0
    matrices = [torch.from_numpy(site) for site in values]
    found = BatchCells.select(matrices, torch.tensor(lengths), sites).interactions()
    for example, n in enumerate(lengths):
        own = np.nan_to_num(values[:, example, :n, :n])
        classifier = int(np.abs(own[-1]).sum(1).argmax())
        assert (found[example].length, found[example].classifier) == (n, classifier)
        for site, matrix, kept in zip(sites, own, found[example].sites, strict=True):
            floor = 0 if is_last(site, sites) else FLOOR
            assert kept.cells == defined(matrix, classifier, floor, site.attention_type == "cross")


def defined(
    matrix: NDArray[np.float32], classifier: int, floor: float, diagonal: bool
) -> tuple[tuple[int, int, float], ...]:
    """The cells that are kept of one site, cell by cell."""
    rows = matrix.max(1).tolist()
    others = [row for query, row in enumerate(rows) if query != classifier]
    tops = [float(_rounded(top)) for top in (max(rows), max([0, *others]))]
    least = np.float32(floor * min([top for top in tops if top > 0], default=0))
    cells = [
        (query, key, value)
        for query, row in enumerate(matrix)
        for key, value in enumerate(row)
        if value > least and (diagonal or query != key)
    ]
    cells.sort(key=lambda cell: -cell[2])
    return tuple(
        (query, key, float(f"{value:.5g}"))
        for place, (query, key, value) in enumerate(cells)
        if place < MAX_CELLS * len(matrix) or query == classifier
    )


def test_what_is_kept_is_bounded() -> None:
    values = np.random.default_rng(0).random((3, 40, 40))
    found = interactions(values, THREE)
    for site in found.sites:
        assert len([cell for cell in site.cells if cell[0] != found.classifier]) <= 160
        assert len([cell for cell in site.cells if cell[0] == found.classifier]) >= 30
        assert len(site.cells) < 200
    few = values**20
    kept = interactions(few, THREE).sites[0]
    assert 0 < len(kept.cells) < 160
    assert min(cell[2] for cell in kept.cells) > 0.19 * kept.largest
    assert Interactions.from_json(found.to_json()) == found


def test_values_have_five_significant_digits() -> None:
    """As Python prints them, bit by bit where attributions are, else to the last bits."""
    generator = np.random.default_rng(0)
    signs = generator.choice([-1, 1], 2000)
    values = (signs * 10 ** generator.uniform(-38, 38, 2000)).astype(np.float32)
    rounded = _rounded(np.append(values, 0))
    expected = [float(f"{float(value):.5g}") for value in values] + [0]
    np.testing.assert_allclose(rounded, expected, rtol=1e-15)
    usual = (np.abs(values) > 1e-15) & (np.abs(values) < 1e5)
    assert rounded[:-1][usual].tolist() == np.array(expected[:-1])[usual].tolist()
