"""Loading a sequence classifier and its tokenizer from the Hugging Face hub or a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import HFValidationError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from headwise.errors import (
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
    first_line,
)
from headwise.replay import Replay, Site
from headwise.targets import label_names

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    SafetensorError,
    HfHubHTTPError,
    HFValidationError,
)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A classifier ready for ``headwise.attribute``.

    model: in eval mode, on ``device``, with parameters of type ``dtype``
    tokenizer: stored with the model
    labels: names of the classes, by index
    sites: the attention modules, in order of evaluation
    device: such as ``cuda:0``
    dtype: such as ``float32``
    fingerprint: SHA-256 (hex) of the configuration and the weight files
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    sites: tuple[Site, ...]
    device: str
    dtype: str
    fingerprint: str


def load(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
) -> LoadedModel:
    """Load a classifier, check that its attention can be replayed, and fingerprint it.

    model: name on the Hugging Face hub, or a local folder
    revision: commit, tag or branch on the hub; not allowed for a folder
    dtype: ``float32``, ``float64``, ``bfloat16`` or ``float16``, independent of the file
    device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` for a GPU if there is one

    Weights are read from safetensors only, and no code from the repository of the model is run.

    Raises OptionError and the subclasses of ModelError.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype {dtype!r} is unknown; use one of {', '.join(DTYPES)}")
    where = resolve_device(device)
    name = str(model)
    folder = _folder(name, revision)
    if folder is not None:
        _check_folder(folder)
    config = read_config(name, revision)
    classifier = _read_model(name, revision, config, DTYPES[dtype]).to(where)
    classifier.eval()
    tokenizer = read_tokenizer(name, revision, folder)
    with Replay(classifier) as replay:
        sites = replay.sites
    return LoadedModel(
        model=classifier,
        tokenizer=tokenizer,
        labels=label_names(classifier),
        sites=sites,
        device=str(where),
        dtype=dtype,
        fingerprint=_fingerprint(name, revision, folder),
    )


def resolve_device(device: str) -> torch.device:
    """Return the device that an option names. Raises OptionError if there is none."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise OptionError(f"device {device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise OptionError(
                f"device {device!r} is not there: {count} CUDA devices are visible; "
                "use 'cpu' or 'auto'"
            )
    return torch.device(device)


def _folder(name: str, revision: str | None) -> Path | None:
    """The local folder of a model, or None for a name on the hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        if revision is not None:
            raise OptionError(f"revision {revision!r} given, but model {name!r} is a local folder")
        return path
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if looks_local or path.exists():
        raise ModelNotFoundError(f"model folder {name!r} does not exist or is not a folder")
    return None


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(f"model folder '{folder}' has no config.json")
    if (folder / "pruned.json").is_file():
        raise UnsupportedModelError(
            f"model folder '{folder}' holds a smaller model without some heads; load it with "
            "headwise.load_pruned, or export it as 'masked' for everything else"
        )
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise UnsafeWeightsError(
            f"model folder '{folder}' has weights only as pickle ({', '.join(pickles)}), which "
            "can run code; convert them with model.save_pretrained(folder)"
        )
    raise ModelNotFoundError(f"model folder '{folder}' has no model.safetensors")


def read_config(name: str, revision: str | None) -> Any:
    """Read the configuration of a sequence classifier. Raises ModelError for anything else."""
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except _LOAD_ERRORS as error:
        at = f" at revision {revision!r}" if revision else ""
        raise ModelNotFoundError(
            f"model {name!r}{at} has no readable config.json: {first_line(error)}"
        ) from error
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise UnsupportedModelError(
            f"model type {config.model_type!r} has no sequence classifier in transformers"
        )
    architectures = config.architectures or []
    if not any("SequenceClassification" in architecture for architecture in architectures):
        raise UnsupportedModelError(
            f"model {name!r} is no sequence classifier: its config.json names "
            f"{', '.join(architectures) or 'no architecture'}"
        )
    return config


def _read_model(
    name: str, revision: str | None, config: Any, dtype: torch.dtype
) -> PreTrainedModel:
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except _LOAD_ERRORS as error:
        # There is no error type for a missing format, only an OSError that mentions safetensors.
        if isinstance(error, OSError) and "safetensors" in str(error):
            raise UnsafeWeightsError(
                f"model {name!r} has no weights as safetensors, and pickle could run code"
            ) from error
        raise ModelNotFoundError(
            f"the weights of model {name!r} cannot be read: {first_line(error)}"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise UnsupportedModelError(
            f"the weights of model {name!r} lack {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}: they would be random; is it a classifier?"
        )
    loaded: PreTrainedModel = model
    return loaded


def read_tokenizer(name: str, revision: str | None, folder: Path | None) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a model. Raises TokenizerError if it is missing or unusable."""
    if folder is not None and not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise TokenizerError(
            f"model folder '{folder}' has no tokenizer (none of {', '.join(_TOKENIZER_FILES)}); "
            "add it with tokenizer.save_pretrained(folder)"
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False
        )
    except (*_LOAD_ERRORS, TypeError, ImportError) as error:
        raise TokenizerError(
            f"the tokenizer of model {name!r} cannot be read: {first_line(error)}"
        ) from error
    return tokenizer


def _fingerprint(name: str, revision: str | None, folder: Path | None) -> str:
    if folder is None:
        # The files are in the cache by now; its snapshot folder looks like a local folder.
        config = cached_file(name, "config.json", revision=revision, local_files_only=True)
        folder = Path(config).parent
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
