"""Tiny tokenizers of every common kind, which divide texts as the published ones do."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from headwise.encoding import Encoded, encode
from tests.helpers.classifiers import tiny

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def word_piece(*pieces: str, lowercase: bool = True) -> PreTrainedTokenizerFast:
    """BERT's: accents are stripped and control characters dropped; Han characters stand alone."""
    backend = Tokenizer(models.WordPiece(_numbered(*pieces), unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _finished(backend)


def byte_level(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """GPT-2's: every byte is a token, unless merged."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = _numbered(*alphabet, *("".join(merge) for merge in merges))
    backend = Tokenizer(models.BPE(vocabulary, list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _finished(backend)


def byte_fallback(*pieces: str) -> PreTrainedTokenizerFast:
    """Llama's: the whole text is one word, spaces are marked, unknown characters are bytes."""
    merges = [(piece[:-1], piece[-1]) for piece in pieces if len(piece) > 1]
    vocabulary = _numbered("\u2581", *"".join(pieces), *pieces, *BYTES)
    backend = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="[UNK]", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    return _finished(backend)


def unigram(*pieces: str, split: bool = True) -> PreTrainedTokenizerFast:
    """XLM-R's and T5's; without ``split``, the tokenizer counts the whole text as one word."""
    vocabulary = _numbered("\u2581", *pieces)
    scores = [(token, -1.0 - number / 100) for token, number in vocabulary.items()]
    backend = Tokenizer(models.Unigram(scores, unk_id=1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    return _finished(backend)


def encoded(
    tokenizer: PreTrainedTokenizerBase, *texts: str, max_length: int | None = None
) -> Encoded:
    """A text or a pair as the engine tokenizes it."""
    (found,) = encode(classifier(), tokenizer, [texts[0] if len(texts) == 1 else texts], max_length)
    return found


@cache
def classifier() -> PreTrainedModel:
    """A model for every tokenizer here."""
    made = tiny(layers=1, positions=300)
    made.resize_token_embeddings(600, mean_resizing=False)
    return made


def _numbered(*tokens: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys((*SPECIAL, *tokens)))}


def _finished(backend: Tokenizer) -> PreTrainedTokenizerFast:
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]",
        "[CLS] $A [SEP] $B:1 [SEP]:1",
        [(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
