"""Words from the pieces of three kinds of tokenizers, and the sums over them."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import headwise
from headwise.errors import OptionError
from tests.helpers.classifiers import random_inputs, tiny

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def finished(backend, vocabulary):
    pairs = "[CLS] $A [SEP] $B:1 [SEP]:1"
    ids = [(token, vocabulary.index(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", pairs, ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def word_piece():
    vocabulary = [*SPECIAL, "un", "##believ", "##able", "Flo", "##od", "!", "so"]
    model = models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]")
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return finished(backend, vocabulary)


def byte_level():
    vocabulary = [
        *SPECIAL, *"unbelivaFod!s", "\u0120", "un", "\u0120s", "\u0120so", "od", "\u0120F", "Fl",
    ]  # fmt: skip
    merges = [
        ("u", "n"),
        ("\u0120", "s"),
        ("\u0120s", "o"),
        ("o", "d"),
        ("\u0120", "F"),
        ("F", "l"),
    ]
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(vocabulary)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return finished(backend, vocabulary)


def sentence_piece(*, split):
    """Without ``split``, the tokenizer counts the whole text as one word."""
    vocabulary = [*SPECIAL, "\u2581", "un", "believ", "able", "\u2581Flo", "od", "!", "\u2581so"]
    scores = [(token, -float(len(SPECIAL) + i)) for i, token in enumerate(vocabulary)]
    backend = Tokenizer(models.Unigram(scores, unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    return finished(backend, vocabulary)


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (word_piece(), ["unbelievable", "Flood", "!"]),
        (byte_level(), ["unbelievable", "Flood", "!"]),
        (sentence_piece(split=True), ["unbelievable", "Flood!"]),
        (sentence_piece(split=False), ["unbelievable", "Flood!"]),
    ],
    ids=["WordPiece", "byte-level BPE", "SentencePiece", "SentencePiece unsplit"],
)
def test_pieces_are_joined_to_the_words_of_the_text(tokenizer, words):
    result = headwise.attribute(
        tiny(), tokenizer, [("unbelievable Flood!", "so")], integration="gauss-legendre:2"
    )
    assert len(result.tokens[0]) > len(words) + 4
    (example,) = result.words()
    assert example.texts == ("[CLS]", *words, "[SEP]", "so", "[SEP]")
    assert [position for pieces in example.pieces for position in pieces] == list(
        range(len(result.tokens[0]))
    )
    for word, query in enumerate(example.pieces):
        for other, key in enumerate(example.pieces):
            want = result.matrices[0][:, :, list(query)][..., list(key)].sum((2, 3))
            np.testing.assert_allclose(example.matrix[:, :, word, other], want, atol=1e-6)
    np.testing.assert_allclose(example.attribution, example.matrix.sum((1, 2)), atol=1e-5)
    np.testing.assert_allclose(example.by_head, example.matrix.sum(2), atol=1e-5)
    np.testing.assert_allclose(example.matrix.sum((2, 3)), result.totals[0], atol=1e-5)


def test_pairs_are_the_largest_cells_between_words():
    result = headwise.attribute(tiny(), word_piece(), ["unbelievable so"])
    (example,) = result.words()
    pairs = example.pairs(5)
    assert [pair.value for pair in pairs] == np.sort(example.matrix.ravel())[::-1][:5].tolist()
    for pair in pairs:
        cell = example.matrix[pair.site.index, pair.head, pair.query, pair.key]
        assert cell == pair.value


def test_words_without_matrices_and_of_failed_examples():
    model = tiny()
    inputs = random_inputs(model, (4, 3))
    plain = headwise.attribute_encoded(model, inputs, matrices=False, method="attention")
    (words, _) = plain.words()
    assert words.texts == plain.tokens[0]
    assert words.matrix is None
    assert words.by_head is None
    with pytest.raises(OptionError, match="matrices=True"):
        words.pairs(3)
    model.bert.embeddings.word_embeddings.weight.data[inputs[0]["input_ids"][0]] = float("nan")
    inputs[1]["input_ids"][:] = inputs[0]["input_ids"][0] % 50 + 2
    failed = headwise.attribute_encoded(model, inputs)
    assert failed.words()[0] is None
    assert failed.words()[1].matrix.shape == (3, 4, 3, 3)


def test_truncated_texts_keep_the_words_that_are_left():
    result = headwise.attribute(
        tiny(), word_piece(), ["unbelievable so so"], max_length=5, method="attention"
    )
    assert result.words()[0].texts == ("[CLS]", "unbelievable", "[SEP]")
    assert len(result.tokens[0]) == 5
