"""A tiny random classifier of any model type, saved with a tokenizer of the kind its family has."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RoCBertTokenizer,
    TapasTokenizer,
    TokenizersBackend,
)
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from benchmarks.tiny import tiny_model

LABELS = ("no", "maybe", "yes")
TEXTS = (
    ("two boats left .", "no boat is out ."),
    ("the old café was closed", "it was open"),
    ("a cat", "a cat sleeps under the red bridge ."),
    ("東京 is far", "far 🙂"),
    ("they never ran", "they ran and ran"),
    ("no " * 70, "yes"),
)
"""Pairs of several lengths, one of them beyond the models' positions; a label each, in turn."""

_WORDS = sorted({word for pair in TEXTS for text in pair for word in text.split()})
_CHARACTERS = sorted(set("".join(_WORDS)))
_SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
_SPACE = "\u2581"

_UNIGRAM = frozenset(
    {"umt5", "plbart", "camembert", "xlm-roberta-xl", "big_bird", "bigbird_pegasus"}
)
_WORD_PIECES = frozenset(
    {"nystromformer", "flaubert", "xlm", "roformer", "esm", "esmc", "perceiver"}
)
_BYTE_FALLBACK = frozenset({"llama", "mistral", "mixtral", "phi3", "phimoe", "minicpm3"})
"""Kinds of tokenizers of types without a class that reads a vocabulary; the others have bytes."""
_ENCODERS = frozenset({"modernbert", "ultrabert", "eurobert", "canine"})
"""Of those with bytes, the types whose texts end with a token and are padded on the right."""


def save_model(kind: str, folder: Path) -> None:
    """Save a random classifier of that model type, in single precision, and its tokenizer."""
    folder.mkdir(parents=True)
    make_tokenizer(kind, folder).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)  # some add their special tokens only then
    ids = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id")
        for name in ("pad", "bos", "eos", "cls", "sep", "mask")
    }
    given = {name: value for name, value in ids.items() if value is not None}
    given |= _end(tokenizer)
    given.setdefault("bos_token_id", given.get("cls_token_id", given["pad_token_id"]))
    sizes = {"vocab_size": 8 * (len(tokenizer) // 8 + 1)}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    if kind == "mobilebert":
        given["initializer_range"] = 0.02  # it does not normalise, and would saturate
    model = tiny_model(kind, **sizes, **names, **given)
    model.float().save_pretrained(folder)


def save_data(path: Path) -> Path:
    """Write the pairs with a label each as JSON lines."""
    rows = (
        {"premise": a, "hypothesis": b, "label": LABELS[number % len(LABELS)]}
        for number, (a, b) in enumerate(TEXTS)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_tokenizer(kind: str, folder: Path) -> PreTrainedTokenizerBase:
    """The family's own tokenizer on a tiny vocabulary, or one of the same kind.

    folder: for the files that some tokenizers take their vocabulary from
    """
    if kind in ("roc_bert", "tapas"):
        return _from_files(kind, folder)
    own = _own_class(kind)
    if own is None:
        return _fast(_backend(kind), ends=kind in _UNIGRAM | _WORD_PIECES | _ENCODERS)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(own.__init__).parameters.items()
        if name.endswith("_token") and isinstance(parameter.default, str)
    }
    order = ("cls", "bos", "pad", "eos", "sep", "unk", "mask")
    special = dict.fromkeys(defaults[f"{n}_token"] for n in order if f"{n}_token" in defaults)
    extra: dict[str, Any] = {} if "pad_token" in defaults else {"pad_token": "<pad>"}
    special |= dict.fromkeys(extra.values())
    if kind == "mbart":
        extra["src_lang"] = "en_XX"  # without it, texts have no end
    return own(**_vocabulary(own, list(special)), **extra)


def _backend(kind: str) -> Tokenizer:
    if kind in _UNIGRAM:
        return _unigram()
    if kind in _WORD_PIECES:
        return _word_pieces()
    return _byte_fallback() if kind in _BYTE_FALLBACK else _bytes()


def _from_files(kind: str, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizers, written in Python, of types that are not computed from texts alone."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]")
    vocabulary = _numbered(special, _pieces())
    words = folder / "vocab.txt"
    words.write_text("\n".join(vocabulary), encoding="utf-8")
    if kind == "tapas":
        return TapasTokenizer(str(words))
    for name in ("word_shape.json", "word_pronunciation.json"):
        (folder / name).write_text(json.dumps(vocabulary), encoding="utf-8")
    return RoCBertTokenizer(
        str(words), str(folder / "word_shape.json"), str(folder / "word_pronunciation.json")
    )


def _own_class(kind: str) -> Any:
    """The class of the family's tokenizer if it is made from a vocabulary."""
    name = TOKENIZER_MAPPING_NAMES.get(kind)
    if name is None:
        return None
    own = getattr(transformers, name)
    try:
        fits = issubclass(own, TokenizersBackend) and own.model is not None
    except ImportError:  # of a library that is not installed
        return None
    fits = fits and kind not in _UNIGRAM
    return own if fits and "vocab" in inspect.signature(own.__init__).parameters else None


def _vocabulary(own: Any, special: list[str]) -> dict[str, Any]:
    """The arguments that give a tokenizer class its words."""
    if own.model is models.WordPiece:
        return {"vocab": _numbered(special, _pieces())}
    if own.model is models.Unigram:
        return {
            "vocab": [(token, -number / 100) for number, token in enumerate([*special, *_marked()])]
        }
    if own.__name__ == "GemmaTokenizer":
        words, merges = _merged_from(_SPACE)
    elif own.__name__ == "OpenAIGPTTokenizer":
        words, merges = [*_CHARACTERS, *(f"{one}</w>" for one in _CHARACTERS)], []
    else:
        words, merges = _merged()
    return {"vocab": _numbered(special, words), "merges": merges}


def _pieces() -> list[str]:
    return [*_WORDS, *_CHARACTERS, *(f"##{one}" for one in _CHARACTERS)]


def _marked() -> list[str]:
    return [_SPACE, *(_SPACE + word for word in _WORDS[::2]), *_CHARACTERS]


def _merged() -> tuple[list[str], list[tuple[str, str]]]:
    """Bytes, and half of the words merged from them."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS[::2]:
        ((spelled, _),) = splitter.pre_tokenize_str(word)[:1]
        for end in range(2, len(spelled) + 1):
            merges[spelled[: end - 1], spelled[end - 1]] = None
    return list(dict.fromkeys([*tokens, *("".join(pair) for pair in merges)])), list(merges)


def _merged_from(space: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Letters, the first ones of words merged with the space, and bytes for all else."""
    letters = [one for one in _CHARACTERS if one.isascii()]
    single = [space, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [(space, one) for one in letters]
    return [*single, *("".join(pair) for pair in merges)], merges


def _numbered(*groups: Iterable[str]) -> dict[str, int]:
    tokens = dict.fromkeys(token for group in groups for token in group)
    return {token: number for number, token in enumerate(tokens)}


def _word_pieces() -> Tokenizer:
    backend = Tokenizer(
        models.WordPiece(_numbered(_SPECIAL.values(), _pieces()), unk_token="<unk>")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def _unigram() -> Tokenizer:
    tokens = [*_SPECIAL.values(), *_marked()]
    backend = Tokenizer(models.Unigram([(t, -n / 100) for n, t in enumerate(tokens)], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend


def _bytes() -> Tokenizer:
    words, merges = _merged()
    backend = Tokenizer(models.BPE(_numbered(_SPECIAL.values(), words), merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _byte_fallback() -> Tokenizer:
    """As sentencepiece's: the text is one word, spaces are marked, unknown characters are bytes."""
    words, merges = _merged_from(_SPACE)
    vocabulary = _numbered(_SPECIAL.values(), words)
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)]
    )
    return backend


def _fast(backend: Tokenizer, *, ends: bool) -> PreTrainedTokenizerFast:
    """With ``ends``, texts end with the end-of-text token; else they begin only, padded left."""
    end = " </s>" if ends else ""
    backend.post_processor = processors.TemplateProcessing(
        f"<s> $A{end}", f"<s> $A{end} $B{end}", [("<s>", 0), ("</s>", 2)]
    )
    names = {f"{name}_token": token for name, token in _SPECIAL.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right" if ends else "left",
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def _end(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The token that classifiers find the end of a text by, if there is one."""
    ids = tokenizer("a").input_ids
    found = tokenizer.eos_token_id
    if found not in ids and ids[-1] in tokenizer.all_special_ids:
        found = ids[-1]
    return {} if found is None else {"eos_token_id": found, "decoder_start_token_id": found}
