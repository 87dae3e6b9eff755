"""Word pieces to words: the three conventions, and alignment with the original text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.pages.words import LEVELS, level, read_words, scale_of, sum_by_word, word_at


def shown(tokens: list[str], *texts: str) -> str:
    """The words with their spaces, one text a line."""
    lines: dict[int, str] = {}
    for word in read_words(tokens, texts):
        if not word.special:
            before = lines.get(word.segment, "")
            lines[word.segment] = before + ("" if word.glued or not before else " ") + word.text
    return "\n".join(lines[segment] for segment in sorted(lines))


@pytest.mark.parametrize(
    ("tokens", "texts", "wanted"),
    [
        (
            ["[CLS]", "john", "fail", "##ed", ".", "[SEP]", "a", "cafe", "[SEP]"],
            ("John failed.", "A  Café"),
            "John failed.\nA Café",
        ),
        (["<s>", "It", "Ġdid", "n", "'t", "</s>", "</s>", "No", "</s>"], (), "It didn't\nNo"),
        (["<s>", "▁Hal", "lo", "▁Welt", "</s>"], ("Hallo Welt",), "Hallo Welt"),
        (["<s>", "na", "Ã¯", "ve", "</s>"], (), "na Ã¯ ve"),
        (["<s>", "Ġna", "Ã¯", "ve", "</s>"], ("naïve",), "naïve"),
        # Not the text's tokens: the pieces are shown as they are.
        (["[CLS]", "something", "else", "[SEP]"], ("The text",), "something else"),
        (["[CLS]", "[UNK]", "b", "[SEP]"], ("☃ b",), "[UNK] b"),
        (["[CLS]", "日", "本", "[SEP]"], ("日本",), "日本"),
        # Cut off in the middle of the text.
        (["[CLS]", "one", "two", "[SEP]"], ("One two three",), "One two"),
        ([], (), ""),
    ],
)
def test_words(tokens: list[str], texts: tuple[str, ...], wanted: str) -> None:
    assert shown(tokens, *texts) == wanted


def test_separators_are_no_words_of_the_text() -> None:
    words = read_words(["[CLS]", "a", "[SEP]", "b", "[SEP]"], ("a", "b"))
    assert [word.special for word in words] == [True, False, True, False, True]
    assert [word.segment for word in words] == [0, 0, 0, 1, 1]


@given(st.lists(st.text(max_size=6), max_size=30), st.lists(st.text(max_size=60), max_size=2))
def test_every_piece_is_in_one_word(tokens: list[str], texts: list[str]) -> None:
    words = read_words(tokens, texts)
    places = [place for word in words for place in range(word.first, word.end)]
    assert sorted(places) == list(range(len(tokens)))
    values = [float(i) for i in range(len(tokens))]
    assert sum(sum_by_word(words, values)) == pytest.approx(sum(values))
    for place in range(len(tokens)):
        found = word_at(words, place)
        assert found is not None
        assert words[found].first <= place < words[found].end
    assert word_at(words, len(tokens)) is None


def test_separators_do_not_set_the_scale() -> None:
    words = read_words(["[CLS]", "a", "b", "[SEP]"], ())
    assert scale_of(words, [9.0, 0.5, -2.0, 0.0]) == 2.0
    assert scale_of(words[:1], [9.0]) == 9.0


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.0, "z"), (1.0, "p10"), (-1.0, "n10"), (5.0, "p10"), (0.26, "p3"), (0.04, "z")],
)
def test_level(value: float, wanted: str) -> None:
    assert level(value, 1.0) == wanted
    assert level(value, 0.0) == "z"
    assert LEVELS == 10
