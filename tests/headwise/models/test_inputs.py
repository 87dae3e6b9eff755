"""The inputs that a model takes of what its tokenizer gives, however it is wrapped."""

import copy

import numpy as np
import pytest
import torch
from tokenizers import processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

import headwise
from headwise.errors import TokenizerError
from headwise.models.inputs import takes_token_types

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] two boats left . no boat is out".split()
PAIRS = [("two boats left .", "no boat is out .")]
RULE = "gauss-legendre:2"


class Passing(nn.Module):
    """A wrapper whose signature says nothing."""

    def __init__(self, model):
        super().__init__()
        self.inner = model
        self.config = model.config

    @property
    def device(self):
        return self.inner.device

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()

    def forward(self, **inputs):
        return self.inner(**inputs)


class Tuner(nn.Module):
    """A model between an adapter's wrapper and the model, as PEFT has it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)


class Adapter(Passing):
    """An adapter's wrapper, which names some of the inputs."""

    def __init__(self, model):
        super().__init__(model)
        self.inner = Tuner(model)

    @property
    def device(self):
        return self.inner.model.device

    def get_input_embeddings(self):
        return self.inner.model.get_input_embeddings()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, **kwargs)


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})


def bert(**sizes):
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.5,
        **sizes,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config).eval()


def compiled(model):
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("wrap", [Passing, Adapter, compiled, compiled_in_place])
def test_a_wrapped_model_gets_token_types(tokenizer, wrap):
    """The probabilities of the tokenizer's own call, float32: 1e-5; attribution likewise."""
    model = bert()
    with torch.no_grad():
        want = model(**tokenizer(*PAIRS[0], return_tensors="pt")).logits.softmax(-1).numpy()
    plain = headwise.attribute(model, tokenizer, PAIRS, integration=RULE)
    wrapped = headwise.attribute(wrap(model), tokenizer, PAIRS, integration=RULE)
    np.testing.assert_allclose(wrapped.probabilities, want, atol=1e-5)
    np.testing.assert_allclose(wrapped.scores, plain.scores, atol=1e-5)


def test_a_model_without_token_types_gets_none(tokenizer):
    class Untyped(BertForSequenceClassification):
        def forward(self, input_ids=None, attention_mask=None):
            return super().forward(input_ids=input_ids, attention_mask=attention_mask)

    model = Untyped(bert().config).eval()
    assert not takes_token_types(model, tokenizer)
    result = headwise.attribute(model, tokenizer, PAIRS, integration=RULE)
    with torch.no_grad():
        ids = tokenizer(*PAIRS[0], return_tensors="pt")["input_ids"]
        want = model(ids, torch.ones_like(ids)).logits.softmax(-1).numpy()
    np.testing.assert_allclose(result.probabilities, want, atol=1e-5)


class Shapes(BertTokenizer):
    """A tokenizer with an input that this package does not know."""

    def __call__(self, *args, **kwargs):
        encoding = super().__call__(*args, **kwargs)
        encoding["shape_ids"] = encoding["input_ids"]
        return encoding


class Shaped(BertForSequenceClassification):
    """A model that takes it, as RoCBert takes the shapes of characters."""

    def forward(self, input_ids=None, shape_ids=None, **others):
        embeddings = self.get_input_embeddings()(input_ids)
        if shape_ids is not None:
            embeddings = embeddings + shape_ids[..., None] * torch.linspace(0, 1, 32)
        return super().forward(inputs_embeds=embeddings, **others)


def test_an_input_that_would_be_left_out_is_refused():
    tokenizer = Shapes(vocab={word: number for number, word in enumerate(WORDS)})
    model = Shaped(bert().config).eval()
    with pytest.raises(TokenizerError, match=r"also takes shape_ids from its tokenizer.*choose"):
        headwise.attribute(model, tokenizer, PAIRS, integration=RULE)
    # One that makes no difference is no reason: BERT of any signature takes it and ignores it.
    plain = bert()
    result = headwise.attribute(plain, tokenizer, PAIRS, integration=RULE)
    assert np.isfinite(result.scores).all()


def test_token_types_without_embeddings_are_refused_by_name(tokenizer):
    model = bert(type_vocab_size=1)
    single = headwise.attribute(model, tokenizer, ["two boats left ."], integration=RULE)
    assert np.isfinite(single.scores).all()
    with pytest.raises(TokenizerError, match=r"token type 1.*type_vocab_size is 1; give it single"):
        headwise.attribute(model, tokenizer, PAIRS, integration=RULE)


def test_a_text_without_tokens_is_named(tokenizer):
    plain = copy.deepcopy(tokenizer)
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing("$A", "$A $B", [])
    with pytest.raises(TokenizerError, match=r"gives no tokens for texts\[1\], ' '"):
        headwise.attribute(bert(), plain, ["two boats", " "], integration=RULE)


def test_a_tokenizer_that_fails_is_named(tokenizer, monkeypatch):
    def fail(*_, **__):
        raise ValueError("table must be of type pd.DataFrame")

    monkeypatch.setattr(type(tokenizer), "__call__", fail)
    with pytest.raises(TokenizerError, match=r"BertTokenizer\) cannot read texts\[0\]: table must"):
        headwise.attribute(bert(), tokenizer, PAIRS, integration=RULE)
