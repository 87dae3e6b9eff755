"""Arguments of `attribute`: texts, tokenizers and options, taken or refused."""

import dataclasses
import inspect
import re
import typing

import numpy as np
import pytest
from transformers import BertTokenizer

import headwise
from headwise.errors import OptionError, TokenizerError
from headwise.options import Arguments, Options
from tests.helpers.classifiers import VOCABULARY, tiny

WORDS = [f"w{number}" for number in range(VOCABULARY - 5)]


@pytest.fixture
def tokenizer():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={token: i for i, token in enumerate([*special, *WORDS])})


def test_texts_and_pairs(tokenizer):
    model = tiny()
    result = headwise.attribute(
        model, tokenizer, ["w1 w2", ("w3", "w4 w5"), ("w6", "")], integration="gauss-legendre:2"
    )
    assert result.tokens[0] == ("[CLS]", "w1", "w2", "[SEP]")
    assert result.tokens[1] == ("[CLS]", "w3", "[SEP]", "w4", "w5", "[SEP]")
    ids = tokenizer("w3", "w4 w5")
    encoded = headwise.attribute_encoded(model, [ids], integration="gauss-legendre:2")
    np.testing.assert_allclose(result.matrices[1], encoded.matrices[0], atol=1e-7)
    assert not result.truncated.any()


def test_long_texts_are_truncated_and_marked(tokenizer):
    model = tiny("roberta")  # 40 positions, of which RoBERTa does not use the first two
    long, short = " ".join(WORDS), "w1"
    result = headwise.attribute(model, tokenizer, [long, short], integration="gauss-legendre:1")
    assert result.truncated.tolist() == [True, False]
    assert [len(tokens) for tokens in result.tokens] == [38, 3]
    assert result.tokens[0][-1] == "[SEP]"
    cut = headwise.attribute(
        model, tokenizer, [(long, long), short], max_length=10, integration="gauss-legendre:1"
    )
    assert cut.truncated.tolist() == [True, False]
    assert len(cut.tokens[0]) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "gold"}, "gold"),
        ({"target": "nonsense"}, "'nonsense'.*LABEL_0"),
        ({"target": 3}, "3 is not a label"),
        ({"target": -1}, "-1 is not a label"),
        ({"target": "gold", "gold": ["LABEL_0", "LABEL_1"]}, "2 labels for 1"),
        ({"target": "gold", "gold": ["LABEL_9"]}, r"gold\[0\].*LABEL_9"),
        ({"output": "loss"}, "output 'loss'"),
        ({"integration": "simpson"}, "integration 'simpson'"),
        ({"rtol": 0}, "rtol"),
        ({"rtol": -1e-3}, "rtol"),
        ({"rtol": float("nan")}, "rtol"),
        ({"rtol": 1}, "rtol"),
        ({"max_points": 2}, "max_points"),
        ({"edges": -1}, "edges"),
        ({"token_budget": 0}, "token_budget"),
        ({"max_length": 3}, "max_length 3"),
        ({"max_length": 41}, "max_length 41.*40"),
    ],
)
def test_bad_options_are_named(tokenizer, options, message):
    with pytest.raises(OptionError, match=message):
        headwise.attribute(tiny(), tokenizer, ["w1"], **options)


def test_every_option_is_typed_documented_and_shown():
    """Type checkers read Arguments, help() the signature, readers the docstring."""
    fields = [field.name for field in dataclasses.fields(Options)]
    assert list(typing.get_type_hints(Arguments)) == fields
    assert typing.get_type_hints(Arguments) == typing.get_type_hints(Options)
    for function in (headwise.attribute, headwise.attribute_encoded):
        shown = inspect.signature(function).parameters
        assert list(shown)[-len(fields) :] == fields
        assert shown["rtol"].default == 1e-3
    documented = inspect.getdoc(Options)
    assert all(re.search(rf"^(\w+, )*{name}\b", documented, re.M) for name in fields)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="integratoin"):
        headwise.attribute_encoded(tiny(), [], integratoin="auto")


@pytest.mark.parametrize("text", [None, 3, ("w1",), ("w1", None), ("a", "b", "c"), b"w1"])
def test_bad_texts_are_named_by_position(tokenizer, text):
    with pytest.raises(OptionError, match=r"texts\[1\]"):
        headwise.attribute(tiny(), tokenizer, ["w1", text])


def test_one_string_is_not_a_sequence_of_texts(tokenizer):
    with pytest.raises(OptionError, match="not one string"):
        headwise.attribute(tiny(), tokenizer, "w1")


def test_holes_in_the_attention_mask_are_refused():
    example = {"input_ids": [2, 3, 4], "attention_mask": [0, 1, 1]}
    with pytest.raises(OptionError, match="input 0: attention_mask"):
        headwise.attribute_encoded(tiny(), [example])


def test_tokenizer_of_another_model_is_refused():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{number}" for number in range(500))]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(words)})
    with pytest.raises(TokenizerError, match="do not belong together"):
        headwise.attribute(tiny(), tokenizer, ["w499"])


def test_no_texts_give_an_empty_result(tokenizer):
    result = headwise.attribute(tiny(), tokenizer, [])
    assert len(result) == 0
    assert result.scores.shape == (0, 3, 4)
