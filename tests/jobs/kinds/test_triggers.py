"""From cells to triggers: texts, words, merging, random controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from jobs.kinds.triggers import (
    Candidate,
    Cell,
    TextTokens,
    TriggerRule,
    TriggerToken,
    merge,
    random_controls,
    spans,
    words,
)
from tests.helpers.tokenizers import byte_fallback, byte_level, encoded, unigram, word_piece

PAIR = ("[CLS]", "floods", "hit", "io", "##wa", "[SEP]", "it", "was", "ice", "[SEP]")


def candidate(*cells: tuple[int, int, float], **changes: Any) -> Candidate:
    made = tuple(
        Cell(layer=1, attention_type="encoder", head=2, query=q, key=k, value=value)
        for q, k, value in cells
    )
    score = sum(cell.value for cell in made)
    values: dict[str, Any] = {"job": 1, "example": 0, "label": 0, "tokens": of_names(PAIR, 2)}
    return Candidate(**{**values, "cells": made, "score": score, **changes})


def of_names(tokens: Sequence[str], texts: int) -> TextTokens:
    """Tokens of a result that has no words."""
    made = TextTokens.of(tokens, ["a text"] * texts, None)
    assert made is not None
    return made


def of_words(tokenizer: PreTrainedTokenizerBase, *texts: str) -> TextTokens:
    """Tokens of a result with words."""
    found = encoded(tokenizer, *texts)
    made = TextTokens.of(found.tokens, texts, found.words)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("tokens", "texts", "want"),
    [
        ("[CLS] a b [SEP] c [SEP]", 2, [(1, 3), (4, 5)]),
        ("<s> a b </s> </s> c d </s>", 2, [(1, 3), (5, 7)]),
        ("a b </s> c </s>", 2, [(0, 2), (3, 4)]),
        ("[CLS] a [UNK] b [SEP]", 1, [(1, 4)]),
        ("a b <sep> c <sep> <cls>", 2, [(0, 2), (3, 4)]),
        ("[CLS] a [SEP] [SEP]", 2, None),
        ("[CLS] a [SEP] b [SEP]", 1, None),
        ("a b c", 2, None),
    ],
)
def test_texts_are_the_runs_between_special_tokens(
    tokens: str, texts: int, want: list[tuple[int, int]] | None
) -> None:
    found = spans(tokens.split(), texts)
    assert found == (None if want is None else tuple(range(*ends) for ends in want))


@pytest.mark.parametrize(
    ("pieces", "want"),
    [
        ("un ##believ ##able flood ##s !", [*["unbelievable"] * 3, "floods", "floods", "!"]),
        ("so don ' t", ["so", "don", "'", "t"]),
        ("Fl oods Ġin ĠI owa !", ["Floods", "Floods", "in", "Iowa", "Iowa", "!"]),
        ("ĠcafÃ© Ġso", ["café", "so"]),
        ("▁ un able ▁so ?", ["", "unable", "unable", "so", "?"]),
    ],
)
def test_words_of_pieces(pieces: str, want: list[str]) -> None:
    assert words(pieces.split()) == want


@pytest.mark.parametrize(
    ("tokenizer", "texts", "want"),
    [
        (
            word_piece("io", "##wa", "flood", "it"),
            ("Flood, Iowa!", "It"),
            ["Flood", ",", "Iowa", "Iowa", "!", "It"],
        ),
        (byte_level(("o", "k")), ("(Né) ok", "!"), ["(", *["Né"] * 3, ")", "␣", *["ok"], "!"]),
        (unigram("▁Iowa", "!", "▁in"), ("in Iowa!",), ["in", "Iowa", "!"]),
        (byte_fallback("o", "k"), ("हि ok",), ["हि"] * 7 + ["␣", "ok", "ok"]),
        (unigram("日本", "語"), ("日本語",), ["日本", "日本", "語"]),
    ],
)
def test_words_of_tokens_are_those_of_the_text_without_punctuation(
    tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...], want: list[str]
) -> None:
    found = of_words(tokenizer, *texts)
    inside = [place for place, segment in enumerate(found.segments) if segment is not None]
    assert [found.words[place] for place in inside] == want
    assert inside == [*found.positions(0), *found.positions(1)]


def test_special_tokens_of_any_name_and_those_typed_into_a_text() -> None:
    found = of_words(word_piece("a", "b"), "a [SEP] b", "b")
    assert found.tokens == ("[CLS]", "a", "[SEP]", "b", "[SEP]", "b", "[SEP]")
    assert found.segments == (None, 0, 0, 0, None, 1, None)
    assert TextTokens.of(found.tokens, ["a [SEP] b", "b"], None) is None


def test_words_are_equal_in_any_case() -> None:
    tokenizer = word_piece("ice", "is")
    sources = [
        candidate((1, 2, value), tokens=of_words(tokenizer, text), example=n)
        for n, (text, value) in enumerate([("ice is", 0.2), ("Ice IS", 0.4)])
    ]
    (trigger,) = merge(sources)
    assert (trigger.support, [token.word for token in trigger.tokens]) == (2, ["Ice", "IS"])


def test_a_trigger_has_its_tokens_in_order_without_special_ones() -> None:
    (trigger,) = merge([candidate((8, 4, 0.3), (0, 8, 0.2), (4, 5, 0.1))])
    assert trigger.tokens == (
        TriggerToken("##wa", 0, 1.0, "iowa"),
        TriggerToken("ice", 1, 1.0, "ice"),
    )
    assert trigger.sources[0].positions == (4, 8)
    assert trigger.max_score == pytest.approx(0.6)


def test_single_texts() -> None:
    tokens = ("<s>", "Floods", "Ġhit", "</s>")
    (trigger,) = merge([candidate((0, 2, 1.0), tokens=of_names(tokens, 1))])
    assert trigger.tokens == (TriggerToken("Ġhit", 0, 1.0, "hit"),)


def test_nothing_but_special_tokens_is_no_trigger() -> None:
    assert merge([candidate((0, 5, 1.0)), candidate((0, 9, 1.0))]) == []


def test_equal_ones_of_a_class_are_merged() -> None:
    moved = ("[CLS]", "two", *PAIR[1:])
    found = merge(
        [
            candidate((1, 8, 0.2)),
            candidate((2, 9, 0.5), tokens=of_names(moved, 2), example=1),
            candidate((1, 8, 0.3), label=1, example=2),
            candidate((1, 7, 0.4), example=3),
        ]
    )
    assert [(t.label, t.support, t.max_score) for t in found] == [
        (0, 2, 0.5),
        (0, 1, 0.4),
        (1, 1, 0.3),
    ]
    assert [source.example for source in found[0].sources] == [1, 0]
    assert [token.position for token in found[0].tokens] == [2 / 5, 1.0]
    assert [token.position for token in found[0].sources[1].tokens] == [1 / 4, 1.0]
    assert merge([candidate((1, 8, 0.2))], TriggerRule(support=2)) == []


def test_limits_per_class() -> None:
    many = [candidate((1, n, 0.1 * n), label=n % 2, example=n) for n in (2, 3, 4, 6, 7)]
    found = merge(many, TriggerRule(per_class=1))
    assert [(t.label, t.sources[0].example) for t in found] == [(0, 6), (1, 7)]


@pytest.mark.parametrize("seed", range(5))
def test_random_controls_are_of_the_same_texts(seed: int) -> None:
    triggers = merge(
        [candidate((1, 8, 0.2), (1, 6, 0.1)), candidate((3, 2, 0.2), (4, 1, 0.1), example=1)]
    )
    tokens = {(1, 0): of_names(PAIR, 2), (1, 1): of_names(PAIR, 2)}
    controls = random_controls(triggers, tokens, seed)
    assert controls == random_controls(triggers[::-1], tokens, seed)[::-1]
    for trigger, control in zip(triggers, controls, strict=True):
        source = control.sources[0]
        assert [t.segment for t in control.tokens] == [t.segment for t in trigger.tokens]
        assert [PAIR[position] for position in source.positions] == [
            t.token for t in control.tokens
        ]
        assert source.cells == ()
        assert source.example == trigger.sources[0].example
    by_example = {control.sources[0].example: control.sources[0].positions for control in controls}
    # Of the second text's three tokens two are the trigger's: too few others, so any two.
    assert 1 not in by_example[0]
    assert by_example[1] == (1, 2, 3, 4)


def test_random_controls_differ_by_seed() -> None:
    triggers = merge([candidate((1, 8, 0.2))])
    drawn = {
        random_controls(triggers, {(1, 0): of_names(PAIR, 2)}, seed)[0].sources[0].positions
        for seed in range(20)
    }
    assert drawn == {(a, b) for a in (2, 3, 4) for b in (6, 7)}
