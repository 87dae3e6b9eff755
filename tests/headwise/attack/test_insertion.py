"""The places of triggers in a text, and what comes out again."""

import pytest

from headwise.attack.placing import placed, words_into
from headwise.errors import OptionError
from tests.helpers.classifiers import tiny
from tests.helpers.triggers import TRIGGERS, inserter


def inserted(tokenizer, text, trigger, model=None, **changes):
    """The tokens of a text with a trigger."""
    put = inserter(tokenizer, model, **changes)
    found = put.insert(put.prepare(text, put.max_length), trigger)
    return found and " ".join(tokenizer.convert_ids_to_tokens(list(found.ids)))


@pytest.mark.parametrize(
    ("n", "positions", "want"),
    [
        (6, [1 / 8, 3 / 4], "0 X 1 2 3 4 Y 5"),  # round(8/8) = 1, round(8 * 3/4) = 6
        (4, [1.0], "0 1 2 3 X"),  # round(5) = 5: behind the last
        (3, [0.5], "0 1 X 2"),  # round(2) = 2
        (4, [0.5], "0 1 X 2 3"),  # round(2.5) = 2: to the even one
        (2, [0.5, 0.55], "0 1 X Y"),  # round(2), round(2.2) = 2, so 3
        (2, [0.1, 0.1, 0.1], "Z X Y 0 1"),  # 0, then 1, then 0: the one before it went to 1
        (0, [0.3, 0.9], "X Y"),  # round(0.6) = 1, round(1.8) = 2
    ],
)
def test_where_items_go(n, positions, want):
    """By hand, from the official rule: round((length + added) * position), one on if the same."""
    own = [str(number) for number in range(n)]
    found = placed(own, list(zip("XYZ", positions, strict=False)))
    assert " ".join(found) == want


def test_tokens_go_into_their_text(bert):
    pair = ("titanic is a very sad movie", "it rains")
    assert inserted(bert, pair, TRIGGERS[0]) == (
        "[CLS] titanic flood ##s is a very sad movie [SEP] it rains iowa [SEP]"
    )
    put = inserter(bert)
    found = put.insert(put.prepare(pair, None), TRIGGERS[0])
    assert found.token_types == (0,) * 10 + (1,) * 4
    assert inserted(bert, pair, TRIGGERS[0], segments="premise") == (
        "[CLS] titanic flood ##s is a very sad movie [SEP] it rains [SEP]"
    )
    assert inserted(bert, pair, TRIGGERS[0], segments="hypothesis") == (
        "[CLS] titanic is a very sad movie [SEP] it rains iowa [SEP]"
    )
    assert inserted(bert, pair, TRIGGERS[1], segments="premise") is None
    assert inserted(bert, "it rains", TRIGGERS[0]) == "[CLS] flood ##s it rains [SEP]"
    assert inserted(bert, "it rains", TRIGGERS[1]) is None
    assert inserted(bert, ("", "it rains"), TRIGGERS[0]) is None


def test_tokens_of_byte_level_pieces(roberta):
    trigger = [("\u0120is", 1, 0.5, "is"), ("d", 0, 1.0, "sad")]
    assert inserted(roberta, ("a", "a sad"), trigger, tiny("roberta")) == (
        "<s> a d </s> </s> a \u0120 \u0120is sad </s>"
    )


def test_words_go_into_the_text_and_come_out_again(bert, roberta):
    text = "Titanic is  a very sad\tmovie."
    found = words_into(text, [("ice", 1 / 8), ("florida", 3 / 4)])
    assert found == "Titanic ice is  a very sad\tflorida movie."
    assert found.replace("ice ", "").replace("florida ", "") == text
    assert words_into("it rains", [("now", 1.0)]) == "it rains now"
    assert words_into("it rains hard", [("now", 1.0)], 1) == "it now"
    pair = ("a sad movie", "it is")
    both = inserted(bert, pair, TRIGGERS[0], insertion="text")
    assert both == "[CLS] flood ##s a sad movie [SEP] it is iowa [SEP]"
    ids = roberta("a sad", "it is ice")["input_ids"]
    want = " ".join(roberta.convert_ids_to_tokens(ids))
    trigger = [["c", 1, 1.0, "ice"], ["i", 1, 0.9, "ice"]]  # as JSON gives it back
    assert inserted(roberta, ("a sad", "it is"), trigger, tiny("roberta"), insertion="text") == want


@pytest.mark.parametrize(
    ("insertion", "want", "least"),
    [
        # 13 tokens: 3 special ones, 3 of the trigger, 7 of the texts.
        ("tokens", "a flood ##s very very [SEP] two the in is iowa", 8),
        # By words, as many of each: 3 and 3, for 4 and 4 would be 8.
        ("text", "flood ##s a very very [SEP] two the in iowa", 6),
    ],
)
def test_the_text_is_cut_and_not_the_trigger(bert, insertion, want, least):
    long = ("a very very sad movie", "two the in is a very sad movie")
    cut = {"insertion": insertion, "max_length": 13}
    assert inserted(bert, long, TRIGGERS[0], **cut) == f"[CLS] {want} [SEP]"
    put = inserter(bert, **cut)
    assert put.insert(put.prepare(long, 13), TRIGGERS[0]).truncated
    assert inserted(bert, long, TRIGGERS[0], **{**cut, "max_length": least})
    with pytest.raises(OptionError, match=f"'flood ##s iowa' leaves no room .* {least - 1}"):
        inserted(bert, long, TRIGGERS[0], **{**cut, "max_length": least - 1})
