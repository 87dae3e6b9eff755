"""Every method against a direct computation with the model's own code, one example at a time.

Models are in double precision; results are stored in single precision, hence 1e-6 of the largest.
"""

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

import headwise
from benchmarks.reference import attribute_one
from headwise.errors import OptionError
from headwise.options import METHODS
from headwise.result import Attribution
from tests.helpers.classifiers import VOCABULARY, random_inputs, tiny

LENGTHS = (9, 4, 7, 2)


def model_inputs(example):
    inputs = {name: torch.tensor(array, dtype=torch.long)[None] for name, array in example.items()}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return inputs


def assert_filled(result, number, cells, *, points):
    """Scores, totals, positions and edges are those of the cells, [S, H, n, n]."""
    scale = np.abs(cells).max()
    flat = cells.reshape(*cells.shape[:2], -1)
    n = cells.shape[-1]
    np.testing.assert_allclose(result.matrices[number], cells, atol=1e-6 * scale)
    np.testing.assert_allclose(result.scores[number], flat.max(-1), atol=1e-6 * scale)
    np.testing.assert_allclose(result.totals[number], flat.sum(-1), atol=1e-5 * scale)
    query, key = np.moveaxis(result.positions[number], -1, 0)
    chosen = np.take_along_axis(flat, (query * n + key)[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen, flat.max(-1), atol=1e-6 * scale)
    ranked = np.sort(flat.ravel())[::-1][: result.edge_value.shape[1]]
    np.testing.assert_allclose(result.edge_value[number][: len(ranked)], ranked, atol=1e-6 * scale)
    assert (result.points[number] == points).all()


def test_attention_gradient(family_model):
    """A dF/dA at a = 1: the reference's path integral by one point, there."""
    inputs = random_inputs(family_model, LENGTHS)
    result = headwise.attribute_encoded(
        family_model, inputs, method="attention-gradient", output="log-probability"
    )
    for number, example in enumerate(inputs):
        want = attribute_one(
            family_model,
            model_inputs(example),
            nodes=np.array([1.0]),
            weights=np.array([1.0]),
            output="log-probability",
        )
        assert_filled(result, number, want.attribution, points=1)
        np.testing.assert_allclose(result.f1[number], want.f1, atol=1e-9)
    assert np.isnan(result.f0).all()
    assert np.isnan(result.residual).all()


def test_attention(family_model):
    inputs = random_inputs(family_model, LENGTHS)
    result = headwise.attribute_encoded(family_model, inputs, method="attention")
    family_model.set_attn_implementation("eager")
    for number, example in enumerate(inputs):
        with torch.no_grad():
            output = family_model(**model_inputs(example), output_attentions=True)
        assert_filled(result, number, torch.cat(output.attentions).numpy(), points=0)
    for name in ("f0", "f1", "residual"):
        assert np.isnan(getattr(result, name)).all()


def test_random_depends_on_seed_and_index_alone():
    model = tiny()
    inputs = random_inputs(model, LENGTHS)
    result = headwise.attribute_encoded(model, inputs, method="random", seed=5)
    for number, n in enumerate(LENGTHS):
        cells = np.random.default_rng((5, number)).random((3, 4, n, n), dtype=np.float32)
        assert_filled(result, number, cells, points=0)
    small = headwise.attribute_encoded(model, inputs, method="random", seed=5, token_budget=1)
    np.testing.assert_array_equal(small.scores, result.scores)
    other = headwise.attribute_encoded(model, inputs, method="random", seed=6)
    assert (other.scores != result.scores).all()


def notebook(model, example, target):
    """The notebook's recipe, head by head and point by point, gradients cleared in between."""
    inputs = model_inputs(example)
    encoder_only = model.config.is_encoder_decoder
    source = model.get_encoder() if encoder_only else model
    embeddings = source.get_input_embeddings()(inputs.pop("input_ids")).detach().requires_grad_()
    del inputs["attention_mask"]
    with torch.no_grad():
        output = source(inputs_embeds=embeddings, output_attentions=True, **inputs)
    layers = []
    for attention in output.attentions:
        heads = []
        for head in attention[0]:
            row = head.mean(dim=0)[None]
            gradients = []
            for step in range(6):
                masked = source(inputs_embeds=embeddings, attention_mask=step / 5 * row, **inputs)
                if encoder_only:
                    logits = model.classification_head(masked.last_hidden_state[:, 0, :])
                else:
                    logits = masked.logits
                loss = -logits[0, target]
                gradients.append(torch.autograd.grad(loss, embeddings)[0].mean(dim=2))
            heads.append((row * torch.stack(gradients).mean(dim=0))[0])
        layers.append(torch.stack(heads))
    return torch.stack(layers).numpy()


def without_embedding_norm(model):
    """Behind a LayerNorm the mean gradient is zero, and there is nothing to compare."""
    model.base_model.embeddings.LayerNorm = torch.nn.Identity()
    return model


def test_embedding_gradient(family_model):
    """One value per token, on the diagonal; also in a padded batch."""
    without_embedding_norm(family_model)
    inputs = random_inputs(family_model, LENGTHS)
    result = headwise.attribute_encoded(
        family_model, inputs, method="embedding-gradient", target=1, token_budget=10_000
    )
    family_model.set_attn_implementation("eager")
    for number, (example, n) in enumerate(zip(inputs, LENGTHS, strict=True)):
        want = notebook(family_model, example, 1)
        scale = np.abs(want).max()
        matrices = result.matrices[number]
        np.testing.assert_allclose(np.diagonal(matrices, axis1=2, axis2=3), want, atol=1e-6 * scale)
        assert not matrices[:, :, ~np.eye(n, dtype=bool)].any()
        np.testing.assert_allclose(result.scores[number], want.max(-1), atol=1e-6 * scale)
        np.testing.assert_array_equal(
            result.positions[number, ..., 0], result.positions[number, ..., 1]
        )
        np.testing.assert_array_equal(result.positions[number, ..., 1], want.argmax(-1))
        np.testing.assert_allclose(result.token_attribution[number], want.sum(1), atol=1e-5 * scale)
        edges = result.edges()[number]
        assert len(edges) == min(16, want.size)
        assert all(edge.query == edge.key for edge in edges)
        np.testing.assert_allclose(
            [edge.value for edge in edges], np.sort(want.ravel())[::-1][:16], atol=1e-6 * scale
        )
        with torch.no_grad():
            attentions = family_model(**model_inputs(example), output_attentions=True).attentions
        mean = attentions[edges[0].site.index][0, edges[0].head].mean(0)[edges[0].key]
        assert edges[0].attention == pytest.approx(float(mean), abs=1e-6)
    assert (result.points == 6).all()
    assert np.isnan(result.f1).all()


def tiny_gpt2():
    """A causal classifier, which reads the last token, less the first norm."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=40, num_labels=3,
        pad_token_id=0, bos_token_id=2, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    model = GPT2ForSequenceClassification(config).double().eval()
    model.transformer.h[0].ln_1 = torch.nn.Identity()
    return model


def tiny_bart():
    """The notebook's kind of model, less the norm behind the embeddings."""
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2, num_labels=3,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_position_embeddings=40, init_std=0.3, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    )  # fmt: skip
    model = BartForSequenceClassification(config).double().eval()
    model.model.encoder.layernorm_embedding = torch.nn.Identity()
    return model


@pytest.mark.parametrize("build", [tiny_bart, tiny_gpt2])
def test_embedding_gradient_of_decoders(build):
    """Of BART only the encoder takes part; its other sites have no numbers."""
    model = build()
    generator = np.random.default_rng(0)
    inputs = [{"input_ids": np.append(generator.integers(3, VOCABULARY, n), 2)} for n in (8, 3, 6)]
    result = headwise.attribute_encoded(
        model, inputs, method="embedding-gradient", target=1, token_budget=10_000
    )
    model.set_attn_implementation("eager")
    counted = [
        site.index
        for site in result.sites
        if build is tiny_gpt2 or site.attention_type == "encoder"
    ]
    others = [site.index for site in result.sites if site.index not in counted]
    assert len(others) == (4 if build is tiny_bart else 0)
    for number, example in enumerate(inputs):
        want = notebook(model, example, 1)
        scale = np.abs(want).max()
        assert scale > 1e-3
        got = np.diagonal(result.matrices[number], axis1=2, axis2=3)
        np.testing.assert_allclose(got[counted], want, atol=1e-6 * scale)
        assert np.isnan(got[others]).all()
        assert all(edge.site.index in counted for edge in result.edges()[number])
    assert result.errors == (None,) * 3
    for array in (result.scores, result.totals, result.words()[0].matrix[None]):
        assert np.isnan(array[:, others]).all()
        assert np.isfinite(array[:, counted]).all()
    assert (result.positions[:, others] == -1).all()
    assert (result.attention_max[:, others] > 0).all()
    assert "&ndash;" in result._repr_html_() or not others


def test_embedding_gradient_is_rounding_behind_a_layer_norm():
    """The same number added to a whole embedding is removed again, so the mean gradient is zero."""
    model = tiny()
    inputs = random_inputs(model, LENGTHS)
    result = headwise.attribute_encoded(model, inputs, method="embedding-gradient")
    assert np.abs(result.scores).max() < 1e-15
    other = headwise.attribute_encoded(
        without_embedding_norm(model), inputs, method="embedding-gradient"
    )
    assert np.abs(other.scores).max() > 1e-3


def test_embedding_gradient_where_a_head_sees_nothing_of_a_token():
    """Attention so sharp that it is zero in single precision: such a mask hides the token."""
    model = without_embedding_norm(tiny(dtype=torch.float32, spread=0.15, layers=2))
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.attention.self.query.weight *= 2000
    (example,) = random_inputs(model, [6])
    result = headwise.attribute_encoded(model, [example], method="embedding-gradient", target=0)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(**model_inputs(example), output_attentions=True)
    assert any((attention.mean(2) == 0).any() for attention in output.attentions)
    want = notebook(model, example, 0)
    np.testing.assert_allclose(
        np.diagonal(result.matrices[0], axis1=2, axis2=3), want, atol=1e-3 * np.abs(want).max()
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_result_names_its_method(method, tmp_path):
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, [4]), method=method)
    assert result.method == method
    result.save(tmp_path / "result.safetensors")
    assert Attribution.load(tmp_path / "result.safetensors").method == method


@pytest.mark.parametrize("method", METHODS)
def test_methods_do_not_depend_on_batching(method):
    """1e-9 of the largest, double precision."""
    model = tiny()
    inputs = random_inputs(model, (3, 9, 8, 5))
    whole = headwise.attribute_encoded(model, inputs, method=method, token_budget=5000)
    small = headwise.attribute_encoded(model, inputs, method=method, token_budget=1)
    np.testing.assert_allclose(whole.totals, small.totals, atol=1e-6)
    np.testing.assert_allclose(whole.scores, small.scores, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_example_fails_alone_by_every_method(method):
    model = tiny()
    inputs = [{"input_ids": [2, 3, 4]}, {"input_ids": [2, 59, 4]}]
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[59] = float("nan")
    result = headwise.attribute_encoded(model, inputs, method=method, token_budget=1000)
    assert result.errors[0] is None
    assert "not a finite number" in result.errors[1]
    assert np.isnan(result.scores[1]).all()
    assert np.isfinite(result.scores[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "magic"}, "method 'magic'.*attention-gradient"), ({"seed": -1}, "seed"),
     ({"seed": 0.5}, "seed")],
)  # fmt: skip
def test_bad_method_options_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        headwise.attribute_encoded(tiny(), [{"input_ids": [2, 3]}], **options)
