"""Masked evaluation against a naive reference: hooks that zero a head before its projection."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch

import headwise
from benchmarks.tiny import tiny_model
from headwise.encoding import encode, from_arrays
from headwise.errors import OptionError
from headwise.pruning.masking import MaskTree, evaluate_masks
from headwise.replay import Replay, Site
from tests.helpers.classifiers import random_inputs, state, tiny
from tests.helpers.tiny import bert_folder

LENGTHS = (9, 4, 7, 8, 3)
GOLD = [0, 1, 2, 0, 1]

# Of every attention module the layer that the heads' outputs go into, by the end of its name.
PROJECTIONS = {
    "bert": "attention.output.dense",
    "roberta": "attention.output.dense",
    "distilbert": "attention.out_lin",
    "gpt2": "attn.c_proj",
    "llama": "self_attn.o_proj",
    "bart": "attn.out_proj",
    "deberta-v2": "attention.output.dense",
    "t5": "Attention.o",
    "modernbert": "attn.Wo",
}


def examples(seed=0):
    """Texts that end with the end-of-text token, as encoder-decoders want them."""
    generator = np.random.default_rng(seed)
    texts = [generator.integers(5, 60, n) for n in LENGTHS]
    for text in texts:
        text[-1] = 2
    return [{"input_ids": text} for text in texts]


def projections(model, sites, ending):
    """The output projection of every site, in the sites' order."""
    named = dict(model.named_modules())
    found = []
    for site in sites:
        parent = site.name.rsplit(".", 1)[0]
        near = [n for n in named if n.endswith(ending) and n.startswith(parent)]
        # The module itself holds it, or its parent does where the attention module is inside.
        own = [n for n in near if n.startswith(site.name + ".")] or near
        found.append(named[own[0]])
    assert len(set(found)) == len(sites)
    return found


def naive(model, inputs, layers, heads, mask):
    """Logits of each text by itself; a pre-hook zeroes what a removed head gives a projection."""

    def zero(removed, count):
        def hook(_, args):
            split = args[0].clone().unflatten(-1, (count, -1))
            split[..., torch.tensor(removed[:count]), :] = 0
            return (split.flatten(-2), *args[1:])

        return hook

    with ExitStack() as stack, torch.no_grad():
        for layer, count, removed in zip(layers, heads, mask, strict=True):
            hook = layer.register_forward_pre_hook(zero(removed, count))
            stack.callback(hook.remove)
        return torch.cat(
            [
                model(
                    **{k: torch.as_tensor(np.asarray(v)).long()[None] for k, v in text.items()}
                ).logits
                for text in inputs
            ]
        )


def some_masks(sites, heads, seed=0):
    """Nothing, single heads, everything, a whole site, nested ones, and one of them twice."""
    generator = np.random.default_rng(seed)
    masks = [np.zeros((sites, heads), bool), np.ones((sites, heads), bool)]
    for site in range(sites):
        masks.append(np.zeros((sites, heads), bool))
        masks[-1][site, site % heads] = True
        masks.append(np.zeros((sites, heads), bool))
        masks[-1][site] = True
    order = generator.permutation(sites * heads)
    for count in range(2, sites * heads, 3):
        masks.append(np.zeros(sites * heads, bool))
        masks[-1][order[:count]] = True
        masks[-1] = masks[-1].reshape(sites, heads)
    masks += [generator.random((sites, heads)) < 0.3 for _ in range(4)]
    return np.stack([*masks, masks[3]])


@pytest.mark.parametrize("budget", [40, 100_000])
@pytest.mark.parametrize("kind", PROJECTIONS)
def test_an_architecture_agrees_with_the_naive_reference(kind, budget):
    """Loss within 1e-5 in single precision, whatever shares a pass; same predictions."""
    model = tiny_model(kind).float()
    inputs = examples()
    with Replay(model) as replay:
        sites = replay.sites
    masks = some_masks(len(sites), max(site.heads for site in sites))
    found = evaluate_masks(model, None, from_arrays(inputs), GOLD, masks, token_budget=budget)
    layers = projections(model, sites, PROJECTIONS[kind])
    heads = [site.heads for site in sites]
    for mask, loss, predicted in zip(masks, found.loss, found.predicted, strict=True):
        logits = naive(model, inputs, layers, heads, mask).double()
        want = torch.nn.functional.cross_entropy(logits, torch.tensor(GOLD), reduction="none")
        np.testing.assert_allclose(loss, want.numpy(), atol=1e-5)
        clear = (logits.topk(2).values.diff().abs() > 1e-4).squeeze(1).numpy()
        np.testing.assert_array_equal(predicted[clear], logits.argmax(-1).numpy()[clear])
    assert np.ptp(found.loss, axis=0).max() > 1e-2  # the masks do something


def everything(model, inputs, masks, **options):
    return evaluate_masks(model, None, from_arrays(inputs), [0] * len(inputs), masks, **options)


def rows_per_layer(model, work):
    """Rows that the feed-forward part of each layer of a BERT is given."""
    rows = [0] * len(model.bert.encoder.layer)

    def count(layer):
        def hook(_, args):
            rows[layer] += len(args[0])

        return hook

    with ExitStack() as stack:
        for number, layer in enumerate(model.bert.encoder.layer):
            handle = layer.intermediate.dense.register_forward_pre_hook(count(number))
            stack.callback(handle.remove)
        work()
    return rows


def test_leaving_one_out_runs_no_layer_before_its_head():
    model, inputs = tiny(), random_inputs(tiny(), (6, 6))
    masks = np.eye(12, dtype=bool).reshape(12, 3, 4)
    everything(model, inputs, masks)  # the model is checked once
    rows = rows_per_layer(model, lambda: everything(model, inputs, masks, token_budget=1000))
    # Two texts: once recorded, then four heads of each layer up to this one.
    assert rows == [2 + 2 * 4, 2 + 2 * 8, 2 + 2 * 12]


def test_masks_share_the_layers_in_which_they_are_equal():
    model, inputs = tiny(), random_inputs(tiny(), (6, 6))
    masks = np.zeros((6, 3, 4), bool)
    masks[:, 0, 0] = True  # all the same in the first layer,
    masks[:, 1] = np.eye(4, dtype=bool)[[0, 0, 0, 1, 1, 1]]  # two kinds in the second,
    masks[:, 2] = np.eye(4, dtype=bool)[[0, 1, 2, 0, 1, 1]]  # five in the third: two are equal
    everything(model, inputs, masks)
    rows = rows_per_layer(model, lambda: everything(model, inputs, masks, token_budget=1000))
    assert rows == [2 + 2, 2 + 2 * 2, 2 + 2 * 5]


def test_nothing_removed_is_the_recorded_pass():
    model, inputs = tiny(), random_inputs(tiny(), (6, 6))
    masks = np.zeros((3, 3, 4), bool)
    everything(model, inputs, masks)
    assert rows_per_layer(model, lambda: everything(model, inputs, masks)) == [2, 2, 2]


def test_heads_that_a_site_does_not_have_are_ignored():
    sites = [
        Site(index=i, layer=i, attention_type="encoder", heads=2 + i, name=f"{i}") for i in range(2)
    ]
    masks = np.zeros((2, 2, 3), bool)
    masks[1, 0, 2] = True
    assert len(MaskTree(masks, sites).masks) == 1


def test_lack_of_memory_halves_the_budget(monkeypatch):
    """Passes of more than three rows fail; the result is the same, from smaller ones."""
    model, inputs = tiny(), random_inputs(tiny(), LENGTHS)
    masks = some_masks(3, 4)
    want = everything(model, inputs, masks, token_budget=100_000)
    original, sizes = Replay.logits, []

    def scarce(self, recording, groups):
        sizes.append(sum(len(group.rows) for group in groups))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError
        return original(self, recording, groups)

    monkeypatch.setattr(Replay, "logits", scarce)
    found = everything(model, inputs, masks, token_budget=100_000)
    assert max(sizes) > 3 >= sizes[-1]
    np.testing.assert_allclose(found.loss, want.loss, atol=1e-9)
    monkeypatch.setattr(Replay, "logits", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        everything(model, inputs, masks)


def test_an_example_without_a_finite_output_fails_alone():
    model, inputs = tiny(), random_inputs(tiny(), LENGTHS)
    for text in inputs:
        text["input_ids"][text["input_ids"] == 7] = 8
    inputs[1]["input_ids"][2] = 7
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[7] = float("nan")
    found = everything(model, inputs, some_masks(3, 4))
    np.testing.assert_array_equal(
        found.failed, np.arange(len(inputs)) == np.full((len(found.masks), 1), 1)
    )
    assert np.isnan(found.loss[:, 1]).all()
    assert np.isfinite(np.delete(found.loss, 1, 1)).all()
    sums = found.sums()
    assert set(sums.n) == {len(inputs) - 1}
    assert set(sums.failed) == {1}


@pytest.mark.parametrize("call", [2, 4])
def test_the_model_is_restored_after_an_interrupt(call):
    model, inputs = tiny(), random_inputs(tiny(), (5, 9))
    model.bert.encoder.layer[1].train()
    model.classifier.weight.requires_grad_(False)
    before, calls = state(model), []

    def stop(*_):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        everything(model, inputs, some_masks(3, 4), progress=stop, token_budget=20)
    assert state(model) == before


def test_sums_of_shards_add_up():
    model, inputs = tiny(), random_inputs(tiny(), LENGTHS)
    masks = some_masks(3, 4)
    whole = everything(model, inputs, masks).sums()
    parts = (
        everything(model, inputs[:2], masks).sums() + everything(model, inputs[2:], masks).sums()
    )
    np.testing.assert_array_equal(whole.confusion, parts.confusion)
    np.testing.assert_allclose(whole.loss_sum, parts.loss_sum)


def test_texts_and_their_encodings_give_the_same(tmp_path):
    loaded = headwise.load(bert_folder(tmp_path / "model"))
    texts, masks = ["the cat sings", ("a dog", "runs softly")], some_masks(2, 4)
    ready = encode(loaded.model, loaded.tokenizer, texts, None)
    one = evaluate_masks(loaded.model, loaded.tokenizer, texts, ["no", "yes"], masks)
    other = evaluate_masks(loaded.model, None, ready, [0, 2], masks)
    np.testing.assert_array_equal(one.loss, other.loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((1, 3, 5), bool)}, r"masks must be bool \[M, 3, 4\]"),
        ({"masks": np.zeros((1, 3, 4))}, "not float64"),
        ({"labels": [0]}, "labels has 1 labels for 2 texts"),
        ({"labels": [0, 7]}, r"labels\[1\]: 7 is not a label"),
        ({"texts": "one"}, "not one string"),
        ({"texts": ["one", "two"]}, "with a tokenizer"),
        ({"precision": "int4"}, "precision 'int4' is unknown"),
        ({"model": tiny(labels=1)}, "one of several classes"),
    ],
)
def test_bad_input_is_refused(change, message):
    inputs = random_inputs(tiny(), (5, 4))
    given = {"model": tiny(), "texts": from_arrays(inputs), "labels": [0, 1]}
    given = {**given, "masks": np.zeros((1, 3, 4), bool), "tokenizer": None, **change}
    with pytest.raises(OptionError, match=message):
        evaluate_masks(**given)
