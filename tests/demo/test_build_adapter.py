"""Factoring a fine-tuned model into the adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from demo.build_adapter import DEFAULT_BYTES, Decomposition, factor, share_ranks
from demo.model import ADAPTER, encoder_dir, encoder_weights, merge


def random_matrix(seed: int, rows: int, columns: int, rank: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    product = random.normal(size=(rows, rank)) @ random.normal(size=(rank, columns))
    return product.astype(np.float32)


def test_factors_of_the_true_rank_give_the_matrix_back() -> None:
    matrix = random_matrix(0, 12, 7, rank=3)
    up, down = Decomposition.of(matrix).factors(3)
    assert (up.shape, down.shape) == ((12, 3), (3, 7))
    assert up.dtype == down.dtype == np.float16
    product = up.astype(np.float32) @ down.astype(np.float32)
    assert np.linalg.norm(product - matrix) < 2e-3 * np.linalg.norm(matrix)


def test_factors_do_not_depend_on_the_signs_that_lapack_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = random_matrix(1, 9, 9, rank=9)
    expected = Decomposition.of(matrix).factors(4)
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    flip = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1])
    flipped = (left * flip, values, right * flip[:, None])
    monkeypatch.setattr(np.linalg, "svd", lambda *_, **__: flipped)
    for found, wanted in zip(Decomposition.of(matrix).factors(4), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_ranks_go_where_a_byte_captures_most() -> None:
    few = Decomposition.of(random_matrix(2, 10, 10, rank=2))
    many = Decomposition.of(random_matrix(3, 10, 10, rank=8))
    ranks = share_ranks({"few": few, "many": many}, budget=10 * few.bytes_per_rank)
    assert ranks == {"few": 2, "many": 8}
    assert share_ranks({"few": few}, budget=few.bytes_per_rank - 1) == {"few": 0}


def test_factor_and_merge_are_inverse_when_there_is_room() -> None:
    random = np.random.default_rng(4)
    encoder = {
        "frozen": random.normal(size=(5, 4)).astype(np.float32),
        "weight": random.normal(size=(6, 4)).astype(np.float32),
        "bias": random.normal(size=6).astype(np.float32),
    }
    tuned = {
        "frozen": encoder["frozen"].astype(np.float16),
        "weight": (encoder["weight"] + random_matrix(5, 6, 4, rank=4)).astype(np.float16),
        "bias": (encoder["bias"] + 0.125).astype(np.float16),
        "classifier.weight": random.normal(size=(3, 4)).astype(np.float16),
    }
    adapter = factor(encoder, tuned, budget=1000)
    assert set(adapter) == {"weight.up", "weight.down", "bias.delta", "classifier.weight"}
    merged = merge(encoder, adapter)
    np.testing.assert_array_equal(merged.pop("frozen"), encoder["frozen"])
    for name, tensor in merged.items():
        np.testing.assert_allclose(tensor, tuned[name].astype(np.float32), atol=0.02)


@pytest.mark.shared
def test_the_repositorys_adapter_is_what_the_script_makes(shared_dir: Path) -> None:
    encoder = encoder_weights(encoder_dir())
    tuned = load_file(shared_dir / "models" / "nli-minilm" / "model.safetensors")
    made, kept = factor(encoder, tuned, DEFAULT_BYTES), load_file(ADAPTER)
    assert {name: made[name].shape for name in made} == {name: kept[name].shape for name in kept}
    ours, theirs = merge(encoder, made), merge(encoder, kept)
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], atol=1e-3)
