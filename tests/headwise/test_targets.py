"""Question answering and causal language models, attributed as classifiers.

In double precision, with padding in the batch; results are stored in single precision.
"""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import headwise
from benchmarks.reference import attribute_one
from headwise.attribution.quadrature import gauss_legendre
from headwise.errors import OptionError
from tests.helpers.classifiers import VOCABULARY

WORDS = [f"w{number}" for number in range(VOCABULARY)]
LENGTHS = (7, 4, 9)


@pytest.fixture
def tokenizer():
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="w1"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="w0", unk_token="w1")


@pytest.fixture
def language_model():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=40, pad_token_id=0,
        bos_token_id=2, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double().eval()


@pytest.fixture
def answering_model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=40, initializer_range=0.3,
    )  # fmt: skip
    return BertForQuestionAnswering(config).double().eval()


def examples():
    generator = np.random.default_rng(0)
    return [{"input_ids": generator.integers(3, VOCABULARY, n)} for n in LENGTHS]


def tensors(example):
    ids = torch.tensor(example["input_ids"])[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def assert_is_reference(model, result, **options):
    rule = gauss_legendre(3)
    for number, example in enumerate(examples()):
        want = attribute_one(
            model,
            tensors(example),
            nodes=rule.nodes,
            weights=rule.weights,
            share=False,
            **options,
        )
        scale = np.abs(want.attribution).max()
        np.testing.assert_allclose(result.matrices[number], want.attribution, atol=1e-6 * scale)
        np.testing.assert_allclose(result.f0[number], want.f0, atol=1e-9)


@pytest.mark.parametrize("which", ["start", "end"])
def test_answer_position(answering_model, which):
    model = headwise.AnswerPosition(answering_model, which, positions=20)
    options = {"integration": "gauss-legendre:3", "token_budget": 10_000}
    result = headwise.attribute_encoded(model, examples(), target=2, **options)
    assert_is_reference(model, result, target=2)
    for number, example in enumerate(examples()):
        with torch.no_grad():
            output = answering_model(**tensors(example))
        p = getattr(output, f"{which}_logits").softmax(-1)[0].numpy()
        np.testing.assert_allclose(result.f1[number], p[2], atol=1e-12)
        np.testing.assert_allclose(result.probabilities[number, : len(p)], p, atol=1e-6)
        assert (result.probabilities[number, len(p) :] < 1e-15).all()
        assert result.predicted[number] == p.argmax()
    assert result.labels[2] == "2"


@pytest.mark.parametrize("output", ["probability", "log-probability", "logit"])
def test_next_token(language_model, tokenizer, output):
    model = headwise.NextToken(language_model, tokenizer, ["w7", "w9"])
    options = {"integration": "gauss-legendre:3", "token_budget": 10_000}
    result = headwise.attribute_encoded(model, examples(), target="w9", output=output, **options)
    assert result.labels == ("w7", "w9", "other")
    assert_is_reference(model, result, target=1, output=output)
    for number, example in enumerate(examples()):
        with torch.no_grad():
            logits = language_model(**tensors(example)).logits[0, -1]
        want = {
            "logit": logits,
            "probability": logits.softmax(-1),
            "log-probability": logits.log_softmax(-1),
        }[output]
        np.testing.assert_allclose(result.f1[number], float(want[9]), atol=1e-9)
        others = 1 - logits.softmax(-1)[[7, 9]].sum()
        np.testing.assert_allclose(result.probabilities[number, 2], float(others), atol=1e-6)


def test_texts_gold_words_and_saving(language_model, tokenizer, tmp_path):
    model = headwise.NextToken(language_model, tokenizer, ["w7", "w9"])
    result = headwise.attribute(
        model, tokenizer, ["w3 w4 w5", "w8"], target="gold", gold=["w9", "w7"]
    )
    assert result.target.tolist() == [1, 0]
    assert result.converged.all()
    assert result.words()[0].texts == ("w3", "w4", "w5")
    assert {site.attention_type for site in result.sites} == {"decoder"}
    result.save(tmp_path / "result.safetensors")
    loaded = headwise.Attribution.load(tmp_path / "result.safetensors")
    assert loaded.labels == ("w7", "w9", "other")


def test_the_model_inside_is_not_changed(language_model, tokenizer):
    language_model.train()
    before = language_model.config.to_dict()
    headwise.attribute_encoded(
        headwise.NextToken(language_model, tokenizer, ["w7"]), examples(), method="attention"
    )
    assert language_model.config.to_dict() == before
    assert language_model.config._attn_implementation != "headwise"
    assert all(module.training for module in language_model.modules())
    assert all(parameter.requires_grad for parameter in language_model.parameters())


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(["w7 w8"], "'w7 w8' is 2 tokens"), ([], "at least one"), (["w7", "w7"], "different")],
)
def test_bad_candidates_are_named(language_model, tokenizer, tokens, message):
    with pytest.raises(OptionError, match=message):
        headwise.NextToken(language_model, tokenizer, tokens)


def test_bad_positions_are_named(answering_model):
    with pytest.raises(OptionError, match="'start' or 'end', not 'middle'"):
        headwise.AnswerPosition(answering_model, "middle")
    few = headwise.AnswerPosition(answering_model, "start", positions=8)
    with pytest.raises(OptionError, match=r"9 tokens.*max_length"):
        headwise.attribute_encoded(few, examples())
