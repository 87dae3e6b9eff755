"""Importance by gradients, by leaving heads out and from attributions, by their definitions."""

import numpy as np
import pytest
import torch

import headwise
from benchmarks.tiny import tiny_model
from headwise.encoding import from_arrays
from headwise.errors import OptionError
from headwise.pruning.importance import (
    attribution_values,
    leave_one_out,
    one_head_masks,
    random_importance,
    summarize,
    taylor,
)
from headwise.pruning.masking import evaluate_masks
from headwise.replay import Replay
from tests.helpers.classifiers import random_inputs, tiny

LENGTHS = (9, 4, 7)
GOLD = [0, 1, 2]


def sites_of(model):
    with Replay(model) as replay:
        return replay.sites


def written_out(model, text, gold):
    """|<A, dL/dA>| of every head by transformers' own written-out attention, [S, H]."""
    inputs = {k: torch.as_tensor(np.asarray(v)).long()[None] for k, v in text.items()}
    model.config._attn_implementation = "eager"
    with torch.enable_grad():
        output = model(**inputs, output_attentions=True)
        loss = torch.nn.functional.cross_entropy(output.logits, torch.tensor([gold]))
        gradients = torch.autograd.grad(loss, output.attentions)
    products = [
        (a * g).sum((2, 3)).abs()[0] for a, g in zip(output.attentions, gradients, strict=True)
    ]
    return torch.stack(products).detach().numpy()


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_taylor_is_the_product_of_attention_and_gradient(kind):
    """In a batch with padding, against each text by itself; 1e-6 of the largest."""
    model = tiny_model(kind)
    generator = np.random.default_rng(0)
    inputs = [{"input_ids": generator.integers(5, 60, n)} for n in LENGTHS]
    found = taylor(model, None, from_arrays(inputs), GOLD)
    want = np.stack([written_out(model, *pair) for pair in zip(inputs, GOLD, strict=True)])
    np.testing.assert_allclose(found, want, atol=1e-6 * want.max())


def test_taylor_leaves_no_gradients_and_fails_examples_alone():
    model, inputs = tiny(), random_inputs(tiny(), LENGTHS)
    inputs[0]["input_ids"][:] = 8
    inputs[2]["input_ids"][:] = 8
    inputs[1]["input_ids"][0] = 7
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[7] = float("nan")
    values = taylor(model, None, from_arrays(inputs), GOLD)
    assert np.isnan(values).all((1, 2)).tolist() == [False, True, False]
    assert np.isfinite(values[[0, 2]]).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert summarize("taylor", values).n == 2


def test_leaving_one_out_is_the_difference_to_the_whole_model():
    model, inputs = tiny(), random_inputs(tiny(), LENGTHS)
    encoded = from_arrays(inputs)
    found = leave_one_out(model, None, encoded, GOLD)
    masks = np.zeros((2, 3, 4), bool)
    masks[1, 2, 1] = True
    pair = evaluate_masks(model, None, encoded, GOLD, masks)
    np.testing.assert_allclose(found.loss[:, 2, 1], pair.loss[1] - pair.loss[0], atol=1e-12)
    np.testing.assert_array_equal(found.accuracy[:, 2, 1], pair.correct[0] - pair.correct[1])
    assert found.loss.shape == found.accuracy.shape == (3, 3, 4)


def test_there_is_one_mask_per_head():
    sites = sites_of(tiny())
    masks = one_head_masks(sites)
    assert masks.shape == (12, 3, 4)
    assert (masks.sum((1, 2)) == 1).all()
    assert masks.any(0).all()


def test_random_importance_depends_on_seed_and_draw():
    sites = sites_of(tiny())
    one = random_importance(sites, 0, 1)
    np.testing.assert_array_equal(one, random_importance(sites, 0, 1))
    assert not np.array_equal(one, random_importance(sites, 0, 2))
    assert not np.array_equal(one, random_importance(sites, 1, 1))


def test_an_attribution_gives_its_own_sources():
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, LENGTHS))
    importance = summarize("attattr", attribution_values(result))
    np.testing.assert_allclose(importance.mean, result.importance(), rtol=1e-6)
    totals = attribution_values(result, "attattr-absolute-total")
    np.testing.assert_array_equal(totals, np.abs(result.totals))
    np.testing.assert_array_equal(
        attribution_values(result, "attattr-total"), result.totals.astype(float)
    )
    np.testing.assert_array_equal(attribution_values(result, "attention"), result.attention_max)
    with pytest.raises(OptionError, match="source 'best' is unknown"):
        attribution_values(result, "best")
