"""The words of a text are those that a reader sees, whatever tokenizer divided it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from headwise.encoding import Encoded
from headwise.segmentation import Span
from tests.helpers.tokenizers import byte_fallback, byte_level, encoded, unigram, word_piece

PIECES = ("▁caf", "é", "日本", "語", "学ぶ", "สวัสดี", "ครับ", "a", "b", "so", "▁ok")
TOKENIZERS = {
    "WordPiece": word_piece("a", "cafe", "na", "##ive", "ok", "日", "so", "##k"),
    "WordPiece, cased": word_piece("So", "##u", "a", "b", lowercase=False),
    "byte-level BPE": byte_level(("o", "k"), ("c", "a"), ("Ġ", "s")),
    "byte fallback": byte_fallback("c", "a", "o", "s", "日", "ca", "▁a"),
    "Unigram": unigram(*PIECES),
    "Unigram, unsplit": unigram(*PIECES, split=False),
}


def words(found: Encoded) -> list[str]:
    """The words, without the special tokens around the texts."""
    pairs = zip(found.word_texts, found.words.word_spans(), strict=True)
    return [text for text, span in pairs if span is not None]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CAFÉ ok", ["CAFÉ", "ok"]),
        ("cafe\u0301 ok", ["cafe\u0301", "ok"]),
        ("Naïve so", ["Naïve", "so"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("So 😀❤️ 👨‍👩‍👧 OK", ["So", "😀❤️", "👨‍👩‍👧", "OK"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("한국어 말", ["한국어", "말"]),
        ("a   b", ["a", "b"]),
        ("  lead trail", ["lead", "trail"]),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),
        ("a日b", ["a", "日", "b"]),
        ("a [SEP] b", ["a", "[SEP]", "b"]),
        ("ﬁne", ["ﬁne"]),
        ("", []),
    ],
)  # fmt: skip
def test_words_are_as_written(name: str, text: str, wanted: list[str]) -> None:
    assert words(encoded(TOKENIZERS[name], text)) == wanted


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        # The tokenizer's words end at punctuation, or at spaces alone.
        ("WordPiece", "Don't, café.", ["Don", "'", "t", ",", "café", "."]),
        ("byte-level BPE", "Don't, café.", ["Don", "'t", ",", "café", "."]),
        ("byte fallback", "Don't, café.", ["Don't,", "café."]),
        ("Unigram", "Don't, café.", ["Don't,", "café."]),
        # Without spaces between words: the tokens, of whole characters.
        ("WordPiece", "日本語を学ぶ。", [*"日本語を学ぶ。"]),
        ("byte-level BPE", "日本語を学ぶ。", [*"日本語を学ぶ。"]),
        ("byte fallback", "日本語を学ぶ。", [*"日本語を学ぶ。"]),
        ("Unigram", "日本語を学ぶ。", ["日本", "語", "を", "学ぶ", "。"]),
        ("Unigram, unsplit", "日本語を学ぶ。", ["日本", "語", "を", "学ぶ", "。"]),
        ("WordPiece", "สวัสดีครับ ผม", ["สวัสดีครับ", "ผม"]),
        ("byte-level BPE", "สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("byte fallback", "สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("Unigram", "สวัสดีครับ ผม", ["สวัสดี", "ครับ", "ผม"]),
        # White space that a tokenizer drops is no word; line breaks that it keeps are.
        ("WordPiece", "a\n\nb\tc ", ["a", "b", "c"]),
        ("byte-level BPE", "a \n\nb\tc ", ["a", "↵↵", "b", "⇥", "c", "␣"]),
        ("byte fallback", "a \n\nb\tc ", ["a", "↵↵", "b", "⇥", "c", "␣"]),
    ],
)
def test_words_that_depend_on_the_tokenizer(name: str, text: str, wanted: list[str]) -> None:
    assert words(encoded(TOKENIZERS[name], text)) == wanted


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pairs(name: str) -> None:
    found = encoded(TOKENIZERS[name], "a CAFÉ", "日 b")
    assert found.word_texts == ("[CLS]", "a", "CAFÉ", "[SEP]", "日", "b", "[SEP]")
    segments = [None if s is None else s.segment for s in found.words.word_spans()]
    assert segments == [None, 0, 0, None, 1, 1, None]


def test_truncated_texts() -> None:
    found = encoded(TOKENIZERS["byte-level BPE"], "ok né so", max_length=7)
    assert (found.truncated, words(found)) == (True, ["ok", "né"])
    assert found.token_spans == (
        *(None, Span(0, 0, 2), Span(0, 2, 3), Span(0, 3, 4), Span(0, 4, 5), Span(0, 4, 5), None),
    )


def test_a_tokenizer_without_offsets() -> None:
    found = encoded(ByT5Tokenizer(), "né")
    assert found.word_texts == found.tokens == ("n", "Ã", "©", "</s>")
    assert found.token_spans == (None,) * 4


@given(
    st.sampled_from(list(TOKENIZERS)),
    st.lists(
        st.text(st.sampled_from("aé\u0301 \n\t日ดี😀\u200dहि.'[ﬁم\u200f")), min_size=1, max_size=2
    ),
)
def test_no_character_is_lost_or_shown_twice(name: str, texts: list[str]) -> None:
    found = encoded(TOKENIZERS[name], *texts).words
    places = [span for span in found.word_spans() if span is not None]
    assert list(dict.fromkeys(found.word_index)) == list(range(len(found.word_spans())))
    for number, text in enumerate(texts):
        own = [span for span in places if span.segment == number]
        ends = [end for span in own for end in (span.start, span.end)]
        assert ends == sorted(ends)
        kept = "".join(text[span.start : span.end] for span in own)
        if not name.startswith("WordPiece"):
            assert "".join(kept.split()) == "".join(text.split())
