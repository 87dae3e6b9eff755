"""Loading a sequence classifier and its tokenizer from the Hugging Face hub or a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import HFValidationError, tqdm
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from headwise.attribution.memory import is_out_of_memory
from headwise.errors import (
    DamagedModelError,
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    UnsupportedModelError,
    first_line,
    in_words,
)
from headwise.models.building import check_build
from headwise.models.configuring import settle
from headwise.models.files import (
    CONFIG,
    INDEX,
    TOKENIZER_SETTINGS,
    VOCABULARIES,
    WEIGHTS,
    ModelFiles,
    read_model_files,
)
from headwise.replay import Replay, Site
from headwise.targets import label_names

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
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
    fingerprint: SHA-256 (hex) of the files of configuration, weights and tokenizer
    earlier_fingerprint: the same without the tokenizer, as jobs stored it earlier
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    sites: tuple[Site, ...]
    device: str
    dtype: str
    fingerprint: str
    earlier_fingerprint: str = ""


def load(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    arrived: Callable[[], object] | None = None,
) -> LoadedModel:
    """Load a classifier, check that its attention can be replayed, and fingerprint it.

    model: name on the Hugging Face hub, or a local folder
    revision: commit, tag or branch on the hub; not allowed for a folder
    dtype: ``float32``, ``float64``, ``bfloat16`` or ``float16``, independent of the file
    device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` for a GPU if there is one
    arrived: called in any thread when a part of a file, or a file, has come from the hub

    Weights are read from safetensors only, and no code from the repository of the model is run.

    Raises OptionError and the subclasses of ModelError.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype {dtype!r} is unknown; use one of {', '.join(DTYPES)}")
    where = resolve_device(device)
    name = str(model)
    files = _files(name, revision, arrived)
    config = read_config(files.folder)
    tokenizer = read_tokenizer(files.folder)
    settle(config, tokenizer)
    check_build(files, config)
    classifier = _read_model(files, config, DTYPES[dtype]).to(where)
    _check_finite(classifier, files.folder)
    classifier.eval()
    with Replay(classifier) as replay:
        sites = replay.sites
    fingerprint, earlier = files.fingerprints()
    return LoadedModel(
        model=classifier,
        tokenizer=tokenizer,
        labels=label_names(classifier),
        sites=sites,
        device=str(where),
        dtype=dtype,
        fingerprint=fingerprint,
        earlier_fingerprint=earlier,
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


def _files(name: str, revision: str | None, arrived: Callable[[], object] | None) -> ModelFiles:
    """Find a model's files, of a hub model in its cache, and check them before they are opened."""
    folder = _folder(name, revision)
    if folder is None:
        snapshot = _download(name, revision, arrived)
        # The cache keeps the files beside its snapshots.
        return read_model_files(snapshot, within=snapshot.parents[1])
    if (folder / "pruned.json").is_file():
        raise UnsupportedModelError(
            f"model folder '{folder}' holds a smaller model without some heads; load it with "
            "headwise.load_pruned, or export it as 'masked' for everything else"
        )
    return read_model_files(folder)


def _download(name: str, revision: str | None, arrived: Callable[[], object] | None) -> Path:
    wanted = [CONFIG, WEIGHTS, INDEX, "model*.safetensors", *VOCABULARIES, *TOKENIZER_SETTINGS]
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=wanted,
                tqdm_class=None if arrived is None else _bar(arrived),
            )
        )
    except _LOAD_ERRORS as error:
        at = f" at revision {revision!r}" if revision else ""
        raise ModelNotFoundError(
            f"model {name!r}{at} cannot be fetched: {first_line(error)}"
        ) from error


def _bar(arrived: Callable[[], object]) -> type[tqdm]:
    """The hub's progress bar, which says so when a part has arrived."""

    class Bar(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            if n is not None and n > 0:  # less than 0: a part is to be sent again
                arrived()
            shown: bool | None = super().update(n)
            return shown

    return Bar


def read_config(folder: Path) -> Any:
    """Read the configuration of a sequence classifier. Raises ModelError for anything else."""
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # foreign code, and any configuration
        raise DamagedModelError(
            f"model folder '{folder}' has no usable config.json: {in_words(error)}"
        ) from error
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise UnsupportedModelError(
            f"model type {config.model_type!r} has no sequence classifier in transformers"
        )
    listed = config.architectures
    architectures = [str(name) for name in listed] if isinstance(listed, list) else []
    if not any("SequenceClassification" in architecture for architecture in architectures):
        raise UnsupportedModelError(
            f"'{folder}' holds no sequence classifier: its config.json names "
            f"{', '.join(architectures) or 'no architecture'}"
        )
    return config


def _read_model(files: ModelFiles, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            str(files.folder),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # foreign code, and any weights
        if is_out_of_memory(error):
            raise
        raise DamagedModelError(
            f"the weights in '{files.folder}' cannot be read: {in_words(error)}"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise UnsupportedModelError(
            f"the weights in '{files.folder}' are missing {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}: they would be random; is it a classifier?"
        )
    loaded: PreTrainedModel = model
    return loaded


def _check_finite(model: PreTrainedModel, folder: Path) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise DamagedModelError(
                f"{name} in '{folder}' holds values that are not finite as "
                f"{str(parameter.dtype).removeprefix('torch.')}; save the weights again"
            )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a model. Raises TokenizerError if it is unusable."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False
        )
    except Exception as error:  # foreign code, and any files
        reason = in_words(error)
        if "tiktoken" in reason:  # what transformers tries after SentencePiece
            reason = "its .model file is not a SentencePiece model; save the tokenizer again"
        raise TokenizerError(f"the tokenizer in '{folder}' cannot be read: {reason}") from error
    return tokenizer
