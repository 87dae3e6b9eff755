"""The adaptive integration: it meets its tolerance, says when not, and wastes no points."""

import numpy as np
import pytest
import torch

import headwise
from benchmarks.integration import relative_errors
from headwise.attribution.evaluator import Evaluator
from headwise.attribution.quadrature import lobatto_levels
from tests.helpers.classifiers import random_inputs, tiny


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("spread", [0.1, 0.25])
def test_error_meets_the_tolerance_on_rough_models(rtol, spread):
    """At least 95 % of 60 pairs, against 128 points, in float64; all say they converged."""
    model = tiny(spread=spread, seed=6)
    inputs = random_inputs(model, [4, 6, 8, 10, 12] * 4, seed=1)
    result = headwise.attribute_encoded(model, inputs, rtol=rtol, max_points=128)
    exact = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:128")
    errors = relative_errors(result, exact)
    assert result.converged.all()
    assert (errors <= rtol).mean() >= 0.95
    assert np.abs(exact.residual).max() < 1e-12


def test_tighter_tolerances_take_more_points():
    model = tiny(spread=0.25)
    inputs = random_inputs(model, [8] * 6)
    means = [
        headwise.attribute_encoded(model, inputs, rtol=rtol).points.mean()
        for rtol in (1e-1, 1e-3, 1e-6)
    ]
    assert means[0] < means[1] < means[2]


def test_points_are_those_of_a_level():
    """Evaluations are kept: the points are those of one rule, or the last resort's."""
    model = tiny(spread=0.4)
    result = headwise.attribute_encoded(model, random_inputs(model, [8] * 6), rtol=1e-3)
    sizes = {len(rule.nodes) for interior in range(9) for rule in lobatto_levels(interior)}
    assert set(result.points.ravel()) <= sizes | set(range(64, 2 * 64))
    assert len(set(result.points.ravel())) > 1


def test_a_smooth_path_takes_few_points():
    """Two ends and one point where the integrand is nearly straight; the error is met with ease."""
    model = tiny(spread=0.08, seed=6)
    inputs = random_inputs(model, [6, 9, 12] * 4, seed=1)
    result = headwise.attribute_encoded(model, inputs, rtol=1e-3)
    exact = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:32")
    assert result.points.max() <= 3
    assert relative_errors(result, exact).max() < 1e-4


def test_sites_share_a_pass_where_one_alone_does_not_fill_it(monkeypatch):
    """The ends of all three sites in one pass of 24 of 30 tokens; more sites do not fit into 8."""
    sites = []
    whole = Evaluator._pass

    def spy(evaluator, requests):
        sites.append([request.site for request in requests])
        return whole(evaluator, requests)

    monkeypatch.setattr(Evaluator, "_pass", spy)
    model = tiny(spread=0.08)
    inputs = random_inputs(model, [8])
    headwise.attribute_encoded(model, inputs, token_budget=30)
    assert sites[0] == [0, 1, 2]
    sites.clear()
    headwise.attribute_encoded(model, inputs, token_budget=8)
    assert max(map(len, sites)) == 1


def test_sites_together_give_the_same_as_one_by_one():
    """The sites that share a pass do not change the points, nor the numbers (1e-12, float64)."""
    model = tiny(spread=0.25)
    inputs = random_inputs(model, [5, 8, 8])
    alone = headwise.attribute_encoded(model, inputs, token_budget=24)
    together = headwise.attribute_encoded(model, inputs, token_budget=10_000)
    assert (alone.points == together.points).all()
    for one, other in zip(alone.matrices, together.matrices, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_cap_is_kept_and_reported():
    """With too few points allowed, the pair is marked; what was computed is still there."""
    model = tiny(spread=1.0)
    inputs = random_inputs(model, [8] * 4)
    result = headwise.attribute_encoded(model, inputs, rtol=1e-6, max_points=5)
    assert not result.converged.all()
    assert result.points.max() <= 5
    assert np.isfinite(result.scores).all()


def test_residual_is_the_error_of_the_sum():
    """Total over heads against F(1) - F(0), 1e-6 (totals are stored in single precision)."""
    model = tiny(spread=0.3)
    result = headwise.attribute_encoded(model, random_inputs(model, [5, 9]), rtol=1e-3)
    total = result.totals.astype(float).sum(-1)
    np.testing.assert_allclose(total - (result.f1 - result.f0), result.residual, atol=1e-6)
    exact = headwise.attribute_encoded(
        model, random_inputs(model, [5, 9]), rtol=1e-8, max_points=256
    )
    assert np.abs(exact.residual).max() < 1e-7


def test_a_site_that_does_nothing_costs_the_fewest_points():
    """Values of zero: no attribution, only rounding; float32."""
    model = tiny(dtype=torch.float32, spread=0.4)
    value = model.bert.encoder.layer[1].attention.self.value
    with torch.no_grad():
        value.weight.zero_()
        value.bias.fill_(1e-9)
    result = headwise.attribute_encoded(model, random_inputs(model, [7, 8]), rtol=1e-4)
    assert result.converged[:, 1].all()
    assert (result.points[:, 1] == 2).all()
    assert np.abs(result.scores[:, 1]).max() < 1e-6


def test_saturated_probability():
    """A target of probability one to the last digit: attribution near zero, nothing breaks."""
    model = tiny(dtype=torch.float32, spread=0.4)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([200.0, 0.0, 0.0]))
    result = headwise.attribute_encoded(model, random_inputs(model, [7]))
    assert result.errors == (None,)
    assert result.converged.all()
    assert np.abs(result.scores).max() < 1e-6


def test_bfloat16_runs():
    """Half precision has three digits; scores agree with float64 to 0.2 of the largest."""
    model = tiny(spread=0.15)
    inputs = random_inputs(model, [8, 8])
    want = headwise.attribute_encoded(model, inputs)
    got = headwise.attribute_encoded(model.to(torch.bfloat16), inputs, rtol=0.1)
    assert np.abs(got.scores - want.scores).max() < 0.2 * np.abs(want.scores).max()
