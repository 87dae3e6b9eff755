"""Captum's row in the benchmark computes what the reference computes."""

import numpy as np
import torch

from benchmarks.peers import STEPS, captum_one
from benchmarks.reference import attribute_one
from headwise.attribution.quadrature import left_riemann
from tests.helpers.classifiers import tiny


def test_captum_gives_the_reference_s_matrices():
    model = tiny(dtype=torch.float64)
    ids = torch.tensor([[3, 17, 5, 40, 8, 21, 9]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    rule = left_riemann(STEPS)
    want = attribute_one(model, inputs, nodes=rule.nodes, weights=rule.weights).attribution
    before = model.config._attn_implementation
    got = captum_one(model, inputs)
    # Captum's weights are single precision.
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())
    assert model.config._attn_implementation == before
