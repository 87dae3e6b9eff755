"""Removed heads: the smaller model gives what the mask gives, or is refused."""

import copy

import numpy as np
import pytest
import torch

import headwise
from benchmarks.tiny import tiny_model
from headwise.errors import OptionError, UnsupportedModelError
from headwise.pruning.structure import describe, remove_heads, zero_heads
from headwise.replay import Replay
from headwise.replay.hooks import attend, handling
from headwise.replay.probes import probe_inputs

KINDS = (
    *("bert", "roberta", "xlm-roberta", "electra", "distilbert", "bart", "gpt2", "llama"),
    *("mistral", "qwen2", "modernbert", "gpt_neox", "deberta-v2", "deepseek_v3"),
)


def single(kind, **extra):
    return tiny_model(kind, **extra).float()


def sites_of(model):
    with Replay(model) as replay:
        return replay.sites


def masks(sites):
    """Any heads of any site; half of each; whole sites; everything."""
    shape = (len(sites), sites[0].heads)
    generator = np.random.default_rng(1)
    any_heads = np.zeros(shape, dtype=bool)
    for row, count in zip(any_heads, range(1, 99), strict=False):
        row[generator.permutation(shape[1])[: 1 + count % 3]] = True
    half = np.zeros(shape, dtype=bool)
    half[:, : shape[1] // 2] = True
    whole = any_heads.copy()
    whole[::2] = True
    return {"any": any_heads, "half": half, "whole": whole, "all": np.ones(shape, dtype=bool)}


def masked_logits(model, mask, inputs):
    """Logits with the removed heads' O multiplied by zero, in the model's own forward."""
    rows = iter(mask)

    def handler(call):
        return attend(call) * torch.as_tensor(~next(rows))[:, None]

    with Replay(model) as replay, torch.no_grad(), handling(handler):
        return replay.model(**inputs).logits


def assert_equal_to_the_mask(model, mask, *changed):
    inputs = probe_inputs(model, 5, 4, 13, padding=2)
    expected = masked_logits(model, mask, inputs)
    with torch.no_grad():
        assert (model(**inputs).logits - expected).abs().max() > 1e-3  # the mask matters
        for other in changed:
            np.testing.assert_allclose(other(**inputs).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_the_mask(kind):
    model = single(kind)
    before = copy.deepcopy(model.state_dict())
    for mask in masks(sites_of(model)).values():
        pruned, zeroed = remove_heads(model, mask), zero_heads(model, mask)
        assert_equal_to_the_mask(model, mask, pruned, zeroed)
        assert pruned.num_parameters() < zeroed.num_parameters() == model.num_parameters()
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_projections_shrink_in_bert():
    model = single("bert")
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, [0, 1, 3]] = mask[1] = True
    pruned = remove_heads(model, mask).bert.encoder.layer
    attention = pruned[0].attention
    for layer in (attention.self.query, attention.self.key, attention.self.value):
        assert layer.weight.shape == (8, 32)
        assert layer.bias.shape == (8,)
    assert attention.output.dense.weight.shape == (32, 8)
    own = model.bert.encoder.layer[0].attention
    assert torch.equal(attention.self.query.weight, own.self.query.weight[16:24])
    assert torch.equal(attention.output.dense.weight, own.output.dense.weight[:, 16:24])
    # Of a module without heads only the bias behind it is left.
    left = {name for name, _ in pruned[1].attention.named_parameters() if "LayerNorm" not in name}
    assert left == {"output.dense.bias"}


def test_a_module_without_heads_computes_no_attention(monkeypatch):
    model = single("bert")
    mask = np.zeros((2, 4), dtype=bool)
    mask[1] = True
    pruned = remove_heads(model, mask)
    calls = []
    native = torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(args)
        return native(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    pruned(**probe_inputs(model, 0, 2, 7, padding=2))
    assert len(calls) == 1


def test_projections_shrink_in_gpt2():
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, 1] = True
    attention = remove_heads(single("gpt2"), mask).transformer.h[0].attn
    assert attention.c_attn.weight.shape == (32, 72)
    assert attention.c_proj.weight.shape == (24, 32)


@pytest.mark.parametrize(
    ("removed", "key_value_heads", "groups"),
    [([0], 2, 1), ([0, 1], 1, 2), ([0, 2], 2, 1), ([0, 1, 2], 1, 1)],
    ids=["uneven", "a whole group", "one of each", "one stays"],
)
def test_a_key_goes_with_the_last_of_its_queries(removed, key_value_heads, groups):
    """Two keys and values, each for two of four query heads, all 8 wide."""
    model = single("llama")
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, removed] = True
    attention = remove_heads(model, mask).model.layers[0].self_attn
    weights = {name: tuple(w.shape) for name, w in attention.named_parameters() if "weight" in name}
    keys = [shape for name, shape in weights.items() if name.startswith(("k_proj", "v_proj"))]
    assert keys == [(8 * key_value_heads, 32)] * 2
    assert weights["q_proj.weight"] == (8 * (4 - len(removed)), 32)
    assert attention.num_key_value_groups == groups
    assert_equal_to_the_mask(model, mask, remove_heads(model, mask))


def test_shared_layers_lose_the_same_heads_or_none():
    model = single("albert")
    mask = np.zeros((2, 4), dtype=bool)
    mask[:, 2] = True
    assert_equal_to_the_mask(model, mask, remove_heads(model, mask), zero_heads(model, mask))
    everything = np.ones((2, 4), dtype=bool)
    assert_equal_to_the_mask(model, everything, remove_heads(model, everything))
    mask[0, 0] = True
    for change in (remove_heads, zero_heads):
        with pytest.raises(UnsupportedModelError, match=r"serves 2 layers, sites 0, 1"):
            change(model, mask)


def test_layers_that_share_weights_are_zeroed_alike_or_removed_apart():
    """Zamba's layers are modules of their own with the same weights."""
    model = single("zamba")
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, 1] = True
    assert_equal_to_the_mask(model, mask, remove_heads(model, mask))
    with pytest.raises(UnsupportedModelError, match="share their weights; give both the same mask"):
        zero_heads(model, mask)
    mask[1, 1] = True
    assert_equal_to_the_mask(model, mask, remove_heads(model, mask), zero_heads(model, mask))


@pytest.mark.parametrize("kind", ["t5", "olmo2", "bloom"])
def test_what_has_parts_for_all_heads_is_refused_but_can_be_zeroed(kind):
    """A bias of positions per head, or a norm over all heads."""
    model = single(kind)
    mask = np.zeros((len(sites_of(model)), 4), dtype=bool)
    mask[0, 0] = True
    with pytest.raises(UnsupportedModelError, match=f"model type '{kind}'.*cannot be removed"):
        remove_heads(model, mask)
    assert_equal_to_the_mask(model, mask, zero_heads(model, mask))


def test_a_smaller_model_that_differs_is_refused(monkeypatch):
    monkeypatch.setattr("headwise.pruning.shrinking._WIDTH", ())
    native = torch.nn.Linear.forward
    model = single("bert")
    small = (8, 32)

    def wrong(self, given):
        return native(self, given) + (1e-2 if self.weight.shape == small else 0)

    monkeypatch.setattr(torch.nn.Linear, "forward", wrong)
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, :3] = True
    with pytest.raises(UnsupportedModelError, match="would differ by"):
        remove_heads(model, mask)


def test_nothing_removed_changes_nothing():
    model = single("bert")
    pruned = remove_heads(model, np.zeros((2, 4), dtype=bool))
    assert pruned is not model
    assert pruned.num_parameters() == model.num_parameters()


@pytest.mark.parametrize(
    "mask",
    [np.zeros((3, 4), dtype=bool), np.zeros((2, 4)), [[True], [False]], True],
    ids=["sites", "type", "heads", "shape"],
)
def test_a_mask_that_does_not_fit(mask):
    for change in (remove_heads, zero_heads):
        with pytest.raises(OptionError, match=r"mask has .*\[2, 4\]"):
            change(single("bert"), mask)


def test_a_module_with_fewer_heads_has_no_more_to_remove():
    model = single("bart", encoder_attention_heads=2)
    sites = sites_of(model)
    mask = np.zeros((len(sites), 4), dtype=bool)
    mask[0, 3] = True
    with pytest.raises(OptionError, match=r"head 2 or a later one of site 0"):
        remove_heads(model, mask)
    mask[0] = [True, True, False, False]
    inputs = probe_inputs(model, 5, 4, 13, padding=2)
    with torch.no_grad():
        logits = remove_heads(model, mask)(**inputs).logits
        np.testing.assert_allclose(logits, zero_heads(model, mask)(**inputs).logits, atol=1e-5)


def test_description():
    model = single("bert")
    mask = np.zeros((2, 4), dtype=bool)
    mask[:, :2] = True
    report = describe(model, remove_heads(model, mask), batch=2, length=16, runs=3)
    # Per layer three projections of 32 x 32 + 32, and the output projection.
    assert report.attention_parameters == (2 * 4 * 1056, 2 * (3 * 528 + 16 * 32 + 32))
    saved = np.subtract(*report.attention_parameters)
    assert report.parameters == (model.num_parameters(), model.num_parameters() - saved)
    assert min(report.seconds) > 0
    assert report.speedup == report.seconds[0] / report.seconds[1]
    assert (report.batch, report.length) == (2, 16)


def test_nothing_is_attributed_to_a_module_without_heads():
    model = tiny_model("bert")
    with Replay(model) as replay:
        mask = np.zeros((len(replay.sites), replay.sites[0].heads), dtype=bool)
    mask[0] = True
    inputs = [{"input_ids": np.arange(3, 9)}]
    with pytest.raises(UnsupportedModelError, match=r"layer\.0\.attention.*zero_heads"):
        headwise.attribute_encoded(remove_heads(model, mask), inputs)
    zeroed = headwise.attribute_encoded(zero_heads(model, mask), inputs, target=0)
    assert np.abs(zeroed.totals[0, 0]).max() == 0 < np.abs(zeroed.totals[0, 1]).max()
