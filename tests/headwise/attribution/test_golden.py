"""Agreement with the numbers that the paper's official code gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification

import headwise

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "attattr-official.safetensors")


@pytest.fixture(scope="module")
def inputs(golden):
    names = ("input_ids", "attention_mask", "token_type_ids")
    return [{name: golden[name][e] for name in names} for e in range(6)]


def model(dtype):
    return AutoModelForSequenceClassification.from_pretrained(GOLDEN / "tiny-bert", dtype=dtype)


@pytest.mark.parametrize(
    ("integration", "target", "key"),
    [
        ("left-riemann:20", "predicted", "left_riemann_20_predicted"),
        ("left-riemann:64", "predicted", "left_riemann_64_predicted"),
        ("left-riemann:20", "LABEL_0", "left_riemann_20_class0"),
        ("gauss-legendre:128", "predicted", "gauss_legendre_128_predicted"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_rules_equal_the_official_code(golden, inputs, integration, target, key, dtype):
    """Tolerance: 1e-5 of the example's largest cell, the golden numbers being single precision."""
    result = headwise.attribute_encoded(
        model(dtype), inputs, target=target, integration=integration
    )
    expected = golden[f"attribution_{key}"]
    for example, (matrices, mask) in enumerate(
        zip(result.matrices, golden["attention_mask"], strict=True)
    ):
        n = mask.sum()
        want = expected[example, :, :, :n, :n]
        assert matrices.shape == want.shape
        assert np.abs(matrices - want).max() <= 1e-5 * np.abs(want).max()


def test_predictions_and_attention_equal_the_official_code(golden, inputs):
    """Tolerance: 1e-5, single precision."""
    result = headwise.attribute_encoded(model(torch.float32), inputs, integration="left-riemann:1")
    assert result.predicted.tolist() == golden["predicted"].tolist()
    odds = np.exp(golden["logits"])
    np.testing.assert_allclose(result.probabilities, odds / odds.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(result.attention_max, golden["attention"].max((-1, -2)), atol=1e-5)
    rows = golden["attention"].max(-1).sum(-1) / golden["attention_mask"].sum(1)[:, None, None]
    np.testing.assert_allclose(result.attention_mean, rows, atol=1e-5)
