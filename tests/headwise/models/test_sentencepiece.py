"""Tokenizers that are a SentencePiece model alone: what transformers reads is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece

import headwise
from benchmarks.tiny import tiny_model
from headwise.errors import TokenizerError
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import ModelSpec
from tests.helpers.tiny import WORDS

FILES = {"t5": "spiece.model", "deberta-v2": "spm.model", "xlm-roberta": "sentencepiece.bpe.model"}
TEXT = "the cat sings and a dog runs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of subwords; its special ids are those of the tiny models."""
    folder = tmp_path_factory.mktemp("spm")
    lines = [" ".join(WORDS[start : start + 7]) for start in range(len(WORDS))]
    (folder / "text").write_text("\n".join(lines * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "words"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return folder / "words.model"


def folder_of(kind: str, home: Path, content: bytes) -> Path:
    tiny_model(kind, vocab_size=300).float().save_pretrained(home / "model")
    (home / "model" / FILES[kind]).write_bytes(content)
    return home / "model"


@pytest.mark.parametrize("kind", FILES)
def test_a_model_of_subwords_is_enough(tmp_path: Path, trained: Path, kind: str) -> None:
    folder = folder_of(kind, tmp_path, trained.read_bytes())
    facts = model_facts(ModelSpec(name=str(folder)), Settings(home=tmp_path))
    loaded = headwise.load(folder, device="cpu")
    assert facts.layers == len(loaded.sites)
    result = headwise.attribute(
        loaded.model, loaded.tokenizer, [TEXT], integration="gauss-legendre:2"
    )
    assert result.errors == (None,)
    expected = sentencepiece.SentencePieceProcessor(model_file=str(trained)).encode(
        TEXT, out_type=str
    )
    special = loaded.tokenizer.all_special_tokens
    assert [token for token in result.tokens[0] if token not in special] == expected


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    folder = folder_of(kind, tmp_path, b"not a model")
    with pytest.raises(TokenizerError, match="not a SentencePiece model; save the tokenizer again"):
        headwise.load(folder, device="cpu")
