"""Cutting the edges of attribution trees, and what becomes of the model's output."""

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForSequenceClassification, BertTokenizer
from transformers.models.bert import modeling_bert

import headwise
from benchmarks.cutting import KINDS, _cuts, cut_experiment, cut_logits
from headwise.errors import OptionError
from headwise.replay import Replay
from tests.helpers.classifiers import random_inputs, tiny

WORDS = "so it is that we are here now".split()


@pytest.fixture(scope="module")
def tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizer(vocab={token: i for i, token in enumerate(words)})


def encoded(model, length, rows):
    ids = torch.as_tensor(random_inputs(model, [length])[0]["input_ids"]).expand(rows, -1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("site", range(3))
def test_cutting_all_cells_is_attention_of_zero(site):
    """The naive way: the module's context is replaced by zeros."""
    model, n = tiny(), 6
    inputs = encoded(model, n, 2)
    everything = [(site, query, key) for query in range(n) for key in range(n)]
    with Replay(model) as replay, torch.no_grad():
        got = cut_logits(replay, inputs, [everything, []])
    whole = model(**inputs).logits[0]
    module = model.bert.encoder.layer[site].attention.self
    hook = module.register_forward_hook(lambda _, __, out: (torch.zeros_like(out[0]), *out[1:]))
    with torch.no_grad():
        without = model(**inputs).logits[0]
    hook.remove()
    assert torch.allclose(got[0], without, atol=1e-12)
    assert torch.allclose(got[1], whole, atol=1e-12)
    assert not torch.allclose(without, whole, atol=1e-3)


def test_cutting_single_cells_changes_their_weights_alone(monkeypatch):
    """The naive way: transformers' eager attention with the cells' weights zeroed."""
    model = tiny(attn_implementation="eager")
    inputs = encoded(model, 6, 1)
    cut = [(0, 1, 2), (2, 0, 3), (2, 0, 5)]
    with Replay(model) as replay, torch.no_grad():
        got = cut_logits(replay, inputs, [cut])
    sites = iter(range(3))

    def eager(module, query, key, value, mask, scaling=None, **_):
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        site = next(sites)
        for place, reads, read in cut:
            if place == site:
                weights[:, :, reads, read] = 0
        return (weights @ value).transpose(1, 2), weights

    monkeypatch.setattr(modeling_bert, "eager_attention_forward", eager)
    with torch.no_grad():
        expected = model(**inputs).logits
    assert torch.allclose(got, expected, atol=1e-12)


def test_the_experiment(tokenizer):
    model = tiny()
    texts = [" ".join(WORDS[i : i + 5]) for i in range(4)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = cut_experiment(model, tokenizer, texts)
    assert set(first.change) == set(KINDS)
    assert all(len(values) == 4 and np.abs(values).max() > 0 for values in first.change.values())
    again = cut_experiment(model, tokenizer, texts)
    assert all((again.change[kind] == first.change[kind]).all() for kind in KINDS)
    other = cut_experiment(model, tokenizer, texts, seed=1)
    assert (other.change["tree"] == first.change["tree"]).all()
    assert (other.change["random"] != first.change["random"]).any()
    mean, half = first.difference("random")
    assert mean == pytest.approx(first.mean("tree")[0] - first.mean("random")[0])
    assert half > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_change_is_that_of_the_target_without_the_tree(tokenizer):
    model = tiny()
    result = headwise.attribute(model, tokenizer, [" ".join(WORDS)], rtol=1e-2)
    inputs = dict(tokenizer([" ".join(WORDS)], return_tensors="pt"))
    with Replay(model) as replay, torch.no_grad():
        whole, cut = cut_logits(
            replay,
            {name: tensor.expand(2, -1) for name, tensor in inputs.items()},
            [[], result.tree(0, root="classifier").edges()],
        ).softmax(-1)
    target = int(result.target[0])
    found = cut_experiment(model, tokenizer, [" ".join(WORDS)])
    assert found.change["tree"][0] == pytest.approx(float(cut[target] - whole[target]))
    assert found.probability[0] == pytest.approx(float(whole[target]))
    assert found.edges.tolist() == [len(result.tree(0, root="classifier").edges())]
    assert np.isnan(found.mean("tree")[1]), "one text has no interval"


def test_as_many_cells_are_cut_of_every_kind():
    generator = np.random.default_rng(0)
    attention = [generator.random((6, 6)).astype(np.float32) for _ in range(3)]
    attention[0] = np.tril(attention[0])  # a causal layer
    tree = [(2, 0, 3), (2, 0, 4), (1, 3, 2), (0, 4, 1)]
    cuts = _cuts(attention, tree, 3, generator)
    assert {kind: len(several) for kind, several in cuts.items()} == {
        "tree": 1, "attention": 1, "attention keys": 1, "random": 3, "random keys": 3
    }  # fmt: skip
    for kind, several in cuts.items():
        for cut in several:
            assert len(set(cut)) == 4
            assert sorted(site for site, _, _ in cut) == [0, 1, 2, 2]
            assert all(query != key and attention[site][query, key] > 0 for site, query, key in cut)
            if kind.endswith("keys"):
                assert [c[:2] for c in sorted(cut)] == [c[:2] for c in sorted(tree)]
    weights = attention[2] * ~np.eye(6, dtype=bool)
    found = {cell[1:] for cell in cuts["attention"][0] if cell[0] == 2}
    assert found == {divmod(int(i), 6) for i in np.argsort(-weights.ravel())[:2]}
    found = {cell[2] for cell in cuts["attention keys"][0] if cell[0] == 2}
    assert found == set(np.argsort(-weights[0])[:2].tolist())


def test_what_cannot_be_compared(tokenizer):
    model = tiny()
    with pytest.raises(OptionError, match="draws must be at least 1, not 0"):
        cut_experiment(model, tokenizer, ["so"], draws=0)
    model.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(OptionError, match="no edge to cut: all texts failed"):
        cut_experiment(model, tokenizer, ["so"])


def test_an_encoder_decoder_model_has_a_tree_of_both():
    """Cutting what the tree reads by cross-attention changes the output."""
    config = BartConfig(
        vocab_size=60, max_position_embeddings=40, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, num_labels=3, init_std=0.3, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BartForSequenceClassification(config).eval()
    ids = [0, 10, 11, 12, 13, 14, 2]
    result = headwise.attribute_encoded(model, [{"input_ids": ids}], rtol=1e-2)
    tree = result.tree(0, root="classifier")
    assert (tree.nodes[0].side, tree.nodes[0].position) == ("decoder", 6), "it reads the last </s>"
    assert {node.side for node in tree.nodes} == {"encoder", "decoder"}
    crossing = [n for n in tree.nodes if n.attention_type == "cross"]
    assert all(n.side == "encoder" and tree.nodes[n.parent].side == "decoder" for n in crossing)
    inputs = {"input_ids": torch.tensor([ids] * 2), "attention_mask": torch.ones(2, 7).long()}
    with Replay(model) as replay, torch.no_grad():
        cut = [edge for edge in tree.edges() if replay.sites[edge[0]].attention_type == "cross"]
        assert cut
        without, whole = cut_logits(replay, inputs, [cut, []])
    with torch.no_grad():
        assert torch.allclose(whole, model(**inputs).logits[0], atol=1e-5)
    assert not torch.allclose(without, whole, atol=1e-3)
