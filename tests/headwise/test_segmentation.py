"""The words of a text are those that a reader sees, whatever tokenizer divided it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedModel

from headwise.encoding import Encoded, encode
from headwise.segmentation import Segmentation, Span
from tests.helpers.classifiers import tiny
from tests.helpers.tokenizers import byte_fallback, byte_level, unigram, word_piece

PIECES = ("▁caf", "é", "日本", "語", "学ぶ", "สวัสดี", "ครับ", "a", "b", "so", "▁ok")
TOKENIZERS = {
    "WordPiece": word_piece("a", "cafe", "na", "##ive", "ok", "日", "so", "##k"),
    "WordPiece, cased": word_piece("So", "##u", "a", "b", lowercase=False),
    "byte-level BPE": byte_level(("o", "k"), ("c", "a"), ("Ġ", "s")),
    "byte fallback": byte_fallback("c", "a", "o", "s", "日", "ca", "▁a"),
    "Unigram": unigram(*PIECES),
    "Unigram, unsplit": unigram(*PIECES, split=False),
}


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    made = tiny(layers=1, positions=300)
    made.resize_token_embeddings(600)
    return made


def words(encoded: Encoded) -> list[str]:
    """The words, without the special tokens around the texts."""
    found = Segmentation(word_index=encoded.word_index, spans=encoded.token_spans)
    pairs = zip(encoded.word_texts, found.word_spans(), strict=True)
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
def test_words_are_as_written(
    model: PreTrainedModel, name: str, text: str, wanted: list[str]
) -> None:
    (encoded,) = encode(model, TOKENIZERS[name], [text], None)
    assert words(encoded) == wanted


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
def test_words_that_depend_on_the_tokenizer(
    model: PreTrainedModel, name: str, text: str, wanted: list[str]
) -> None:
    (encoded,) = encode(model, TOKENIZERS[name], [text], None)
    assert words(encoded) == wanted


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pairs(model: PreTrainedModel, name: str) -> None:
    (encoded,) = encode(model, TOKENIZERS[name], [("a CAFÉ", "日 b")], None)
    assert encoded.word_texts == ("[CLS]", "a", "CAFÉ", "[SEP]", "日", "b", "[SEP]")
    found = Segmentation(word_index=encoded.word_index, spans=encoded.token_spans).word_spans()
    assert [None if s is None else s.segment for s in found] == [None, 0, 0, None, 1, 1, None]


def test_truncated_texts(model: PreTrainedModel) -> None:
    (encoded,) = encode(model, TOKENIZERS["byte-level BPE"], ["ok né so"], 7)
    assert (encoded.truncated, words(encoded)) == (True, ["ok", "né"])
    assert encoded.token_spans == (
        *(None, Span(0, 0, 2), Span(0, 2, 3), Span(0, 3, 4), Span(0, 4, 5), Span(0, 4, 5), None),
    )


def test_a_tokenizer_without_offsets(model: PreTrainedModel) -> None:
    (encoded,) = encode(model, ByT5Tokenizer(), ["né"], None)
    assert encoded.word_texts == encoded.tokens == ("n", "Ã", "©", "</s>")
    assert encoded.token_spans == (None,) * 4


@given(
    st.sampled_from(list(TOKENIZERS)),
    st.lists(
        st.text(st.sampled_from("aé\u0301 \n\t日ดี😀\u200dहि.'[ﬁم\u200f")), min_size=1, max_size=2
    ),
)
def test_no_character_is_lost_or_shown_twice(
    model: PreTrainedModel, name: str, texts: list[str]
) -> None:
    (encoded,) = encode(model, TOKENIZERS[name], [texts[0] if len(texts) == 1 else (*texts,)], None)
    divided = Segmentation(word_index=encoded.word_index, spans=encoded.token_spans)
    places = [span for span in divided.word_spans() if span is not None]
    assert list(dict.fromkeys(divided.word_index)) == list(range(len(divided.word_spans())))
    for number, text in enumerate(texts):
        own = [span for span in places if span.segment == number]
        ends = [end for span in own for end in (span.start, span.end)]
        assert ends == sorted(ends)
        kept = "".join(text[span.start : span.end] for span in own)
        if not name.startswith("WordPiece"):
            assert "".join(kept.split()) == "".join(text.split())
