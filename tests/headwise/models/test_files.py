"""Model folders: which files are opened, and which folders are refused before anything is built."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from headwise.errors import (
    ModelError,
    ModelNotFoundError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from headwise.models.files import VOCABULARIES, read_model_files
from tests.helpers.tiny import bert_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT of two layers."""
    return bert_folder(tmp_path / "model", layers=2)


def change_config(folder: Path, **changes: Any) -> None:
    """Write values into the configuration."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def split_weights(folder: Path, shard: str = "model-00001-of-00001.safetensors") -> None:
    """Weights under an index, as large models have them."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"classifier.bias": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def link_out(folder: Path, name: str) -> None:
    """Replace a file by a link to a copy of it outside."""
    outside = folder.parent / f"outside-{name}"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)


def test_exactly_the_files_that_are_opened_are_listed(folder: Path) -> None:
    (folder / "README.md").write_text("nothing to load")
    (folder / "extra.safetensors").write_bytes(b"never opened")
    files = read_model_files(folder)
    assert files.names[:2] == ("config.json", "model.safetensors")
    assert set(files.tokenizer) >= {"tokenizer_config.json"}
    assert "extra.safetensors" not in files.names
    config = files.config
    embedding = (config["vocab_size"], config["hidden_size"])
    assert files.shapes["bert.embeddings.word_embeddings.weight"] == embedding
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert files.parameters == sum(one.numel() for one in model.parameters())


def test_the_fingerprint_changes_with_every_file_that_is_opened_and_with_no_other(
    folder: Path,
) -> None:
    before = read_model_files(folder).fingerprints()[0]
    (folder / "README.md").write_text("nothing to load")
    assert read_model_files(folder).fingerprints()[0] == before
    seen = {before}
    for name in read_model_files(folder).names:
        path = folder / name
        content = path.read_bytes()
        # The last byte of the weights is a number's; JSON may end with a blank.
        path.write_bytes(
            content[:-1] + bytes([content[-1] ^ 1])
            if name.endswith(".safetensors")
            else content + b" "
        )
        seen.add(read_model_files(folder).fingerprints()[0])
        path.write_bytes(content)
    assert len(seen) == 1 + len(read_model_files(folder).names)


def test_the_fingerprint_is_that_of_a_copy(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert read_model_files(copy).fingerprints()[0] == read_model_files(folder).fingerprints()[0]


def test_the_model_of_an_earlier_job_is_known_again(folder: Path) -> None:
    """The rule by which fingerprints were made before the tokenizer was a part of them."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        digest.update(json.dumps([name, len(content)]).encode())
        digest.update(hashlib.sha256(content).digest())
    assert read_model_files(folder).fingerprints()[1] == digest.hexdigest()


def test_weights_in_several_files_are_read_through_their_index(folder: Path) -> None:
    whole = dict(read_model_files(folder).shapes)
    split_weights(folder)
    files = read_model_files(folder)
    assert files.weights == ("model-00001-of-00001.safetensors",)
    assert "model.safetensors.index.json" in files.names
    assert dict(files.shapes) == whole


@pytest.mark.parametrize(
    "named",
    [
        "pytorch_model.bin",
        "/etc/passwd",
        "/etc/model.safetensors",
        "../model.safetensors",
        "sub/model.safetensors",
        "..",
        "",
        "model.safetensors.bin",
    ],
)
def test_an_index_names_safetensors_files_of_the_folder_only(folder: Path, named: str) -> None:
    split_weights(folder, named)
    with pytest.raises(UnsafeWeightsError, match=re.escape(repr(named))):
        read_model_files(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer_config.json"])
def test_no_link_leads_out_of_the_folder(folder: Path, name: str) -> None:
    link_out(folder, name)
    with pytest.raises(ModelError, match="link that leads out of the folder"):
        read_model_files(folder)
    # A hub's cache keeps the files beside its snapshots.
    assert name in read_model_files(folder, within=folder.parent).names


def remove(name: str) -> Callable[[Path], None]:
    """Without this file."""
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    """With this content of a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def set_(**changes: Any) -> Callable[[Path], None]:
    """With these values in the configuration."""
    return lambda folder: change_config(folder, **changes)


def without_tokenizer(folder: Path) -> None:
    """No file that a tokenizer takes words from."""
    for name in VOCABULARIES:
        (folder / name).unlink(missing_ok=True)


def pickled(folder: Path) -> None:
    """Weights as pickle only."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def more_layers(folder: Path) -> None:
    """Weights of three layers under a configuration of two."""
    tensors = {
        f"bert.encoder.layer.{n}.output.dense.weight": np.zeros(1, np.float32) for n in range(3)
    }
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (remove("config.json"), ModelNotFoundError, "has no config.json"),
        (write("config.json", "{"), ModelNotFoundError, "no readable config.json"),
        (write("config.json", b"\xff\xfe"), ModelNotFoundError, "no readable config.json"),
        (write("config.json", "[" * 100_000), ModelNotFoundError, "no readable config.json"),
        (write("config.json", "[1]"), ModelNotFoundError, "not a JSON object"),
        (write("config.json", " " * (5 << 20)), ModelError, "at most"),
        (remove("model.safetensors"), ModelNotFoundError, "has no model.safetensors"),
        (pickled, UnsafeWeightsError, "only as pickle"),
        (write("model.safetensors", b""), ModelNotFoundError, "cannot be read as safetensors"),
        (write("model.safetensors", b"\xff" * 64), ModelError, "header would have"),
        (
            write("model.safetensors", (1 << 24).to_bytes(8, "little")),
            ModelNotFoundError,
            "cannot be read as safetensors",
        ),
        (write("adapter_config.json", "{}"), UnsupportedModelError, "merge_and_unload"),
        (without_tokenizer, TokenizerError, "has no tokenizer"),
        (set_(num_hidden_layers=10_000_000), UnsupportedModelError, "10,000,000"),
        (set_(num_hidden_layers=-1), UnsupportedModelError, "1 to 1,000 layers"),
        (set_(num_hidden_layers=3), UnsupportedModelError, "have 2 layers"),
        (set_(num_hidden_layers=1), UnsupportedModelError, "num_hidden_layers = 1"),
        (more_layers, UnsupportedModelError, "have 3 layers"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_words(
    folder: Path, change: Callable[[Path], None], error: type[ModelError], words: str
) -> None:
    change(folder)
    with pytest.raises(error, match=words) as refused:
        read_model_files(folder)
    assert "\n" not in str(refused.value)


def test_layers_of_decoders_are_counted_too(tmp_path: Path) -> None:
    config = transformers.BartConfig(
        vocab_size=50,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=20,
    )
    torch.manual_seed(0)
    transformers.BartForSequenceClassification(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    files = read_model_files(tmp_path)
    assert "model.decoder.layers.1.fc1.weight" in files.shapes
    change_config(tmp_path, decoder_layers=3)
    with pytest.raises(UnsupportedModelError, match=r"have 2 layers \(model.decoder.layers\)"):
        read_model_files(tmp_path)


def test_shared_layers_are_not_counted(tmp_path: Path) -> None:
    config = transformers.AlbertConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.AlbertForSequenceClassification(config).save_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"")
    assert read_model_files(tmp_path).tokenizer == ("spiece.model",)


def test_every_vocabulary_file_of_transformers_classifiers_is_known() -> None:
    source = Path(transformers.__file__).parent / "models"
    families = {name.replace("-", "_") for name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES}
    named: set[str] = set()
    for path in source.glob("*/tokenization_*.py"):
        if path.parent.name in families:
            for block in re.findall(r"VOCAB_FILES_NAMES\s*=\s*\{([^}]*)\}", path.read_text()):
                named.update(re.findall(r':\s*"([^"]+)"', block))
    assert len(named) > 10
    assert named - set(VOCABULARIES) - {"tokenizer_config.json"} == set()
