"""Agreement with the naive reference, which shares no code with the engine.

State of precision: float64 throughout, so that 1e-9 of the largest cell separates rounding from
a wrong formula.
"""

import numpy as np
import pytest
import torch

import headwise
from benchmarks.reference import attribute_one
from headwise.attribution.quadrature import gauss_legendre, left_riemann
from tests.helpers.classifiers import random_inputs, tiny

LENGTHS = (9, 4, 7, 2)


def reference(model, example, rule, *, padding=0, **options):
    ids = np.pad(example["input_ids"], (0, padding), constant_values=model.config.pad_token_id)
    inputs = {
        "input_ids": torch.tensor(ids)[None],
        "attention_mask": (torch.arange(len(ids)) < len(ids) - padding).long()[None],
    }
    if "token_type_ids" in example:
        types = np.pad(example["token_type_ids"].astype(np.int64), (0, padding))
        inputs["token_type_ids"] = torch.tensor(types)[None]
    return attribute_one(model, inputs, nodes=rule.nodes, weights=rule.weights, **options)


def assert_same(result, number, want):
    scale = np.abs(want.attribution).max()
    np.testing.assert_allclose(result.matrices[number], want.attribution, atol=1e-6 * scale)
    np.testing.assert_allclose(result.f0[number], want.f0, atol=1e-9)
    np.testing.assert_allclose(result.f1[number], want.f1, atol=1e-9)
    np.testing.assert_allclose(result.probabilities[number], want.probabilities, atol=1e-6)
    heads = want.attribution.reshape(*want.attribution.shape[:2], -1)
    np.testing.assert_allclose(result.scores[number], heads.max(-1), atol=1e-6 * scale)
    np.testing.assert_allclose(result.totals[number], heads.sum(-1), atol=1e-5 * scale)
    np.testing.assert_allclose(
        result.residual[number], heads.sum((1, 2)) - (want.f1 - want.f0), atol=1e-8 * scale
    )
    rows = want.attention.max(-1)
    np.testing.assert_allclose(result.attention_max[number], rows.max(-1), atol=1e-6)
    np.testing.assert_allclose(result.attention_mean[number], rows.mean(-1), atol=1e-6)


def test_every_family_with_padding_in_the_batch(family_model):
    """All lengths in one batch; tolerance 1e-6 of the largest cell, stored in single precision."""
    inputs = random_inputs(family_model, LENGTHS)
    result = headwise.attribute_encoded(
        family_model, inputs, integration="left-riemann:5", token_budget=10_000
    )
    for number, example in enumerate(inputs):
        assert_same(result, number, reference(family_model, example, left_riemann(5)))


def test_padding_of_the_reference_changes_nothing():
    """The reference is right to be compared with, padded or not (1e-12, float64)."""
    model = tiny()
    (example,) = random_inputs(model, [6])
    plain = reference(model, example, gauss_legendre(3)).attribution
    padded = reference(model, example, gauss_legendre(3), padding=5).attribution
    np.testing.assert_allclose(padded[:, :, :6, :6], plain, atol=1e-12)
    assert not padded[:, :, 6:].any()
    assert not padded[:, :, :, 6:].any()


@pytest.mark.parametrize("output", ["probability", "logit", "log-probability"])
@pytest.mark.parametrize("target", [0, 2])
def test_outputs_and_targets(output, target):
    model = tiny(seed=3)
    inputs = random_inputs(model, LENGTHS)
    result = headwise.attribute_encoded(
        model, inputs, output=output, target=target, integration="gauss-legendre:3"
    )
    assert result.target.tolist() == [target] * len(inputs)
    for number, example in enumerate(inputs):
        want = reference(model, example, gauss_legendre(3), target=target, output=output)
        assert_same(result, number, want)


def test_gold_target_takes_names_and_indices():
    model = tiny()
    inputs = random_inputs(model, [5, 6])
    result = headwise.attribute_encoded(
        model, inputs, target="gold", gold=["LABEL_2", 1], integration="gauss-legendre:2"
    )
    assert result.target.tolist() == [2, 1]
    for number, target in enumerate((2, 1)):
        want = reference(model, inputs[number], gauss_legendre(2), target=target)
        assert_same(result, number, want)


def test_auto_agrees_too():
    """To 1e-6 of the largest cell against 128 points, the residual to 1e-8: rtol 1e-9, float64."""
    model = tiny(seed=1)
    inputs = random_inputs(model, [6, 8])
    result = headwise.attribute_encoded(model, inputs, rtol=1e-9, max_points=256)
    assert result.converged.all()
    for number, example in enumerate(inputs):
        assert_same(result, number, reference(model, example, gauss_legendre(128), chunk=128))


def test_a_head_that_reads_several_tokens_is_computed_in_full():
    """The shortcut for first-token classifiers must not be taken by one that pools several."""

    class ThreeTokens(torch.nn.Module):
        def forward(self, hidden):
            return hidden[:, :3].mean(1)

    model = tiny()
    model.bert.pooler = ThreeTokens()
    inputs = random_inputs(model, [6, 6])
    result = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:3")
    for number, example in enumerate(inputs):
        assert_same(result, number, reference(model, example, gauss_legendre(3)))
        assert np.abs(result.matrices[number][-1, :, 1:]).max() > 0


def test_a_head_that_reads_padding_is_refused():
    """Texts share batches, so what a text gives must not depend on its padding."""

    class MeanPooler(torch.nn.Module):
        def forward(self, hidden):
            return hidden.mean(1)

    model = tiny()
    model.bert.pooler = MeanPooler()
    inputs = random_inputs(model, [6])
    with pytest.raises(headwise.UnsupportedModelError, match="depend on the padding"):
        headwise.attribute_encoded(model, inputs, integration="gauss-legendre:3")


def test_sigmoid_outputs():
    """A multi-label model has one sigmoid per class: the gradient is that of its logit, scaled."""
    model = tiny(problem_type="multi_label_classification")
    inputs = random_inputs(model, [7])
    probability = headwise.attribute_encoded(model, inputs, target=1, rtol=1e-6, max_points=256)
    p = 1 / (
        1 + np.exp(-reference(model, inputs[0], gauss_legendre(1), target=1, output="logit").f1)
    )
    np.testing.assert_allclose(probability.f1[0], p, atol=1e-9)
    assert np.abs(probability.residual).max() < 1e-6
