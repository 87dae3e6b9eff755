"""The benchmark of smaller models: it removes a half, and its table says what was measured."""

import numpy as np

from benchmarks.structure import LENGTH, halves, page, run
from benchmarks.tiny import tiny_model


def test_every_half_is_half_of_the_heads():
    for mask in halves(6, 4).values():
        assert mask.shape == (6, 4)
        assert mask.sum() == 12
    assert set(np.unique(halves(6, 4)["every second layer's"].sum(1))) == {0, 4}


def test_rows():
    model = tiny_model("bert", max_position_embeddings=LENGTH).float()
    rows = list(run({"tiny": model}, {1: 1, 2: 1}, log=lambda _: None))
    assert [row.comparison.batch for row in rows] == [1, 2] * 3
    assert {row.comparison.length for row in rows} == {LENGTH}
    before, after = rows[0].comparison.attention_parameters
    assert 0.5 * before < after < 0.52 * before  # half, and the output projections' biases
    table = page(rows).splitlines()
    assert len(table) == 2 + len(rows)
    assert table[2].endswith(f"| {rows[0].comparison.speedup:.2f} |")
