"""Trees of attributions."""

import dataclasses

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

import headwise
from headwise.attribution.cells import interactions
from headwise.errors import OptionError
from headwise.trees import build
from tests.helpers.classifiers import random_inputs, tiny


@pytest.fixture(scope="module")
def result():
    model = tiny()
    return headwise.attribute_encoded(model, random_inputs(model, [9, 5, 7]))


def test_a_tree_is_built_from_the_matrices_summed_over_heads(result):
    for example, matrices in enumerate(result.matrices):
        summed = matrices.sum(1)
        tokens = result.tokens[example]
        for root in ("classifier", "outgoing", 2):
            expected = build(interactions(summed, result.sites), result.sites, tokens, root=root)
            assert result.tree(example, root=root) == expected
        assert result.tree(example) == result.tree(example, root="outgoing")
        tree = result.tree(example, root="classifier")
        assert tree.nodes[0].position == 0, "[CLS], which alone reads in the last layer"
        (site, query, key), *_ = tree.edges()
        assert tree.nodes[1].value == pytest.approx(summed[site, query, key], rel=1e-4)
        assert len(tree.nodes) > 2


def test_no_matrices_are_needed_unless_tau_is_small(result, tmp_path):
    lowest = result.tree(0, tau=0.0)
    assert len(lowest.nodes) == 9
    result.save(tmp_path / "result.safetensors")
    plain = dataclasses.replace(result, matrices=None)
    assert plain.tree(0) == result.tree(0)
    assert headwise.Attribution.load(tmp_path / "result.safetensors").tree(1) == result.tree(1)
    with pytest.raises(OptionError, match=r"tau must be from 0\.2, which is what was kept"):
        plain.tree(0, tau=0.1)


def test_bad_arguments(result):
    with pytest.raises(OptionError, match="root 'top' is unknown"):
        result.tree(0, root="top")
    with pytest.raises(OptionError, match="there is no example 3; there are 3"):
        result.tree(3)
    broken = tiny()
    broken.classifier.weight.data.fill_(float("nan"))
    failed = headwise.attribute_encoded(broken, random_inputs(broken, [3]))
    with pytest.raises(OptionError, match="example 0 failed: the model's output"):
        failed.tree(0)


def test_a_causal_model_reads_its_last_token_and_no_later_one():
    config = GPT2Config(
        vocab_size=60, n_positions=40, n_embd=32, n_layer=3, n_head=4, num_labels=3,
        initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT2ForSequenceClassification(config).eval()
    tree = headwise.attribute_encoded(model, random_inputs(model, [6, 9])).tree(
        1, root="classifier"
    )
    assert tree.nodes[0].position == 8
    assert len(tree.nodes) > 2
    assert all(query > key for _, query, key in tree.edges())
