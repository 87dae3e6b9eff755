"""The whole attention and attribution of chosen heads, of the same forward pass."""

import numpy as np
import pytest
import torch

import headwise
from benchmarks.reference import attribute_one
from benchmarks.tiny import tiny_model
from headwise.attribution.quadrature import gauss_legendre
from headwise.errors import OptionError
from headwise.naming import head_name
from headwise.result import Attribution
from tests.headwise.attribution.test_golden import golden, inputs, model  # noqa: F401
from tests.helpers.classifiers import random_inputs, tiny

MEMBERS = {"encoder": "attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}


def names_of(result):
    return [
        head_name(site.layer, head, site.attention_type)
        for site in result.sites
        for head in range(site.heads)
    ]


def every_head(model, examples, **options):
    """The result with the matrices of every head."""
    names = names_of(headwise.attribute_encoded(model, examples[:1], integration="left-riemann:1"))
    return headwise.attribute_encoded(model, examples, heads=names, matrices=False, **options)


def eager_attention(model, example, site):
    """The attention probabilities of a site as transformers gives them, [H, n, n]."""
    ids = torch.as_tensor(example["input_ids"])[None]
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "token_type_ids" in example:
        given["token_type_ids"] = torch.as_tensor(example["token_type_ids"]).long()[None]
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            found = model(**given, output_attentions=True)
    finally:
        model.set_attn_implementation(before)
    encoder_decoder = model.config.is_encoder_decoder
    member = MEMBERS[site.attention_type] if encoder_decoder else "attentions"
    if encoder_decoder and site.attention_type == "encoder":
        member = "encoder_attentions"
    return found[member][site.layer][0].numpy()


@pytest.mark.parametrize("kind", ["bert", "distilbert", "bart", "t5", "gpt2", "llama", "gemma2"])
def test_attention_is_that_of_transformers_and_attribution_that_of_the_matrices(kind):
    """Self, causal and cross attention; two lengths in one padded batch.

    Attention: 1e-6 of a probability. Attribution: the same bytes as with all matrices kept.
    """
    model = tiny_model(kind)
    generator = np.random.default_rng(3)
    examples = [{"input_ids": generator.integers(4, 50, n)} for n in (9, 6)]
    for example in examples:
        example["input_ids"][-1] = 2  # the end of a text, which BART's classifier reads
    result = every_head(model, examples, integration="gauss-legendre:3")
    whole = headwise.attribute_encoded(model, examples, integration="gauss-legendre:3")
    for number, example in enumerate(examples):
        n = len(example["input_ids"])
        assert result.attention[number].shape == (len(result.heads), n, n)
        assert result.attention[number].dtype == result.attribution[number].dtype == np.float32
        for site in result.sites:
            want = eager_attention(model, example, site)
            for head in range(site.heads):
                place = (number, site.layer, head, site.attention_type)
                attention, attribution = result.head_matrices(*place)
                np.testing.assert_allclose(attention, want[head], atol=1e-6)
                np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
                assert (attribution == whole.matrix(*place)).all()
                total = result.totals[number, site.index, head]
                assert attribution.sum(dtype=np.float64) == pytest.approx(total, abs=1e-6)


def test_both_are_those_of_the_reference():
    """The naive reference, to 1e-6 of the largest cell; sums meet completeness."""
    model = tiny()
    examples = random_inputs(model, (8, 5))
    result = every_head(model, examples, rtol=1e-4)
    rule = gauss_legendre(64)
    for number, example in enumerate(examples):
        ids = torch.tensor(example["input_ids"])[None]
        types = torch.tensor(example["token_type_ids"]).long()[None]
        given = {"input_ids": ids, "attention_mask": ids.bool().long(), "token_type_ids": types}
        want = attribute_one(model, given, nodes=rule.nodes, weights=rule.weights)
        n = len(example["input_ids"])
        shape = want.attribution.shape[:2]
        attribution = result.attribution[number].reshape(*shape, n, n)
        attention = result.attention[number].reshape(*shape, n, n)
        np.testing.assert_allclose(attention, want.attention, atol=1e-6)
        worst = np.abs(attribution - want.attribution).max()
        assert worst < 1e-3 * np.abs(want.attribution).max()
        change = want.f1 - want.f0
        np.testing.assert_allclose(attribution.sum((1, 2, 3)), change, atol=1e-3)


def test_both_are_those_of_the_official_code(golden, inputs):  # noqa: F811
    """1e-5 of the example's largest cell: the golden numbers are in single precision."""
    chosen = [(0, 1), (2, 3)]
    names = [head_name(site, head) for site, head in chosen]
    found = headwise.attribute_encoded(
        model(torch.float32), inputs, integration="left-riemann:64", heads=names, matrices=False
    )
    assert found.heads == tuple(chosen)
    wanted = golden["attribution_left_riemann_64_predicted"]
    for example, n in enumerate(golden["attention_mask"].sum(1)):
        scale = np.abs(wanted[example]).max()
        for site, head in chosen:
            attention, attribution = found.head_matrices(example, site, head)
            want = golden["attention"][example, site, head, :n, :n]
            np.testing.assert_allclose(attention, want, atol=1e-5)
            np.testing.assert_allclose(
                attribution, wanted[example, site, head, :n, :n], atol=1e-5 * scale
            )


def test_heads_come_in_the_order_that_was_asked_for_and_once():
    model = tiny()
    names = ["L2 H3", "L0 H1", "L2 H0", "L2 H3"]
    result = headwise.attribute_encoded(model, random_inputs(model, (4,)), heads=names)
    assert result.heads == ((2, 3), (0, 1), (2, 0))
    for place, (layer, head) in enumerate(result.heads):
        assert (result.attribution[0][place] == result.matrix(0, layer, head)).all()
        assert result.attention[0][place].max() == result.attention_max[0, layer, head]


def test_a_method_that_runs_some_sites_only_has_the_attention_of_all():
    model = tiny_model("bart")
    examples = [{"input_ids": np.array([4, 9, 11, 2])}]
    result = every_head(model, examples, method="embedding-gradient")
    attention, attribution = result.head_matrices(0, 0, 0, "cross")
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    assert np.isnan(attribution).all()


def test_files_keep_them(tmp_path):
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, (4, 3)), heads=["L1 H2"])
    result.save(tmp_path / "result.safetensors")
    loaded = Attribution.load(tmp_path / "result.safetensors")
    assert loaded.heads == ((1, 2),)
    for example in range(2):
        for kept, read in zip(
            result.head_matrices(example, 1, 2), loaded.head_matrices(example, 1, 2), strict=True
        ):
            assert (kept == read).all()


def test_what_is_wrong_is_said():
    model = tiny()
    examples = random_inputs(model, (4,))
    with pytest.raises(OptionError, match="no head 'L9 H0'; its heads are L0 H0 to L2 H3"):
        headwise.attribute_encoded(model, examples, heads=["L9 H0"])
    with pytest.raises(OptionError, match="sequence of names, not one string: 'L0 H0'"):
        headwise.attribute_encoded(model, examples, heads="L0 H0")
    result = headwise.attribute_encoded(model, examples, heads=["L0 H0"])
    with pytest.raises(OptionError, match=r"L0 H1 was not kept; use attribute\(..., heads="):
        result.head_matrices(0, 0, 1)
