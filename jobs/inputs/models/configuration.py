"""Read and check a model's config.json before a job exists, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwise.errors import ModelError, OptionError, TokenizerError
from headwise.models.families import FAMILIES, reason_against
from headwise.models.files import (
    HEADS,
    LAYERS,
    MAX_LABELS,
    POSITIONS,
    VOCABULARIES,
    ModelFiles,
    first_size,
    read_model_files,
)
from headwise.models.labels import Outputs, label_names, label_notes, outputs_of
from jobs.errors import InputError, refuse
from jobs.inputs.data.examples import allowed_path
from jobs.inputs.hub import in_time
from jobs.inputs.models.tokenizing import try_file
from jobs.settings import Settings
from jobs.specs.base import ModelSpec

_OFFSET = frozenset(
    {
        *("camembert", "data2vec-text", "ibert", "luke", "mpnet", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
_UNLIMITED = frozenset({"mt5", "t5", "umt5"})
"""Their positions are relative; what they call a length is that of their training."""

_SAVE_AGAIN = "Write the folder again with save_pretrained()."


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The properties of a model that planning needs."""

    family: str
    labels: tuple[str, ...]
    outputs: Outputs
    """Meaning of the labels: names of classes, of labels, or of numbers."""
    layers: int
    """Attention modules: a decoder's layer that also looks at an encoder has two."""
    heads: int
    max_length: int | None
    truncated_to: int | None
    """Tokens that texts are truncated to where a job says nothing else."""
    token_types: int | None
    """Local folder only: token types with an embedding, if the tokenizer gives token types."""
    notes: tuple[str, ...]
    """Values that were not taken from the configuration unchanged, in words."""
    revision: str | None
    """Hub only: the commit that the revision means now; the job is pinned to it."""
    changed_at: float = 0.0
    """Time at which a local folder's files last changed; 0 for a commit, which cannot change."""


def model_facts(spec: ModelSpec, settings: Settings) -> ModelFacts:
    """Read and check a model's configuration and the presence of its files.

    Raises InputError when the model is unknown, is not a classifier, belongs to a family that is
    not supported, or has no safetensors weights.
    """
    if spec.is_local:
        folder = allowed_path("model.name", spec.name, settings)
        if not folder.is_dir():
            raise refuse("model.name", spec.name, "no such folder", "Check the path on the server.")
        try:
            found = read_model_files(folder)
            facts = _facts(spec, found.config, None, found.outputs)
            limits = [n for n in (facts.max_length, found.truncated_to) if n is not None]
            facts = replace(
                facts, truncated_to=min(limits, default=None), token_types=found.token_types
            )
            _try_tokenizer(found)
        except ModelError as error:
            raise unfit(spec, error) from None
        # Not the time of modification, which copying keeps.
        changed = max((folder / name).stat().st_ctime for name in found.names)
        return replace(facts, changed_at=changed)
    config_file, files = _from_hub(spec)
    _check_files(spec, files)
    # The cache keeps files under snapshots/<commit>/.
    config = _config(config_file, spec.name)
    return _facts(spec, config, config_file.parent.name, None)


def _try_tokenizer(files: ModelFiles) -> None:
    """Read tokenizer.json as a worker will, within limits. Raises TokenizerError."""
    if "tokenizer.json" not in files.tokenizer:
        return
    largest = try_file(files.folder / "tokenizer.json").vocabulary
    if files.words is not None and largest >= files.words:
        raise TokenizerError(
            f"the tokenizer in '{files.folder}' has word {largest:,}, but the model has "
            f"only {files.words:,} embeddings; save model and tokenizer that belong together"
        )


def label_order(own: Sequence[str], other: Sequence[str]) -> tuple[int, ...] | None:
    """For each label of another model the index of ours; None where the labels are not the same.

    Labels are matched by name in any order, or by index where one of the models has no names of its
    own, only `LABEL_0`, `LABEL_1`.
    """
    ours, theirs = ([label.casefold() for label in labels] for labels in (own, other))
    if len(ours) != len(theirs):
        return None
    unnamed = [f"label_{number}" for number in range(len(ours))]
    if unnamed in (ours, theirs):
        return tuple(range(len(ours)))
    return tuple(map(ours.index, theirs)) if sorted(ours) == sorted(theirs) else None


def unfit(spec: ModelSpec, error: ModelError) -> InputError:
    """The library's words as a problem of the submission."""
    message, _, remedy = str(error).partition("; ")
    remedy = remedy or "choose another model"
    return refuse("model.name", spec.name, message, f"{remedy[0].upper()}{remedy[1:]}.")


def _from_hub(spec: ModelSpec) -> tuple[Path, set[str]]:
    from huggingface_hub import HfApi, hf_hub_download  # slow to import, hub models only
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HTTPError,  # of its HTTP client, whichever that is
        RepositoryNotFoundError,
    )

    try:
        config = Path(_config_from_hub(spec, hf_hub_download))
    except RepositoryNotFoundError:
        raise refuse(
            "model.name", spec.name, "is not on the hub", "Check the name, and HF_TOKEN if private."
        ) from None
    except (EntryNotFoundError, HTTPError, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise refuse(
            "model.name",
            spec.name,
            f"cannot be fetched: {reason}",
            "Check name and revision and that the hub can be reached, or give a local folder "
            "(starting with '/' or './').",
        ) from None
    try:
        listed = in_time(lambda: HfApi().list_repo_files(spec.name, revision=spec.revision))
        return config, set(listed)
    except (HTTPError, OSError):
        # Offline with a filled cache: what is in the snapshot is what there is.
        return config, {path.name for path in config.parent.iterdir()}


def _config_from_hub(spec: ModelSpec, download: Callable[..., str]) -> str:
    """The path of a model's config.json: from the hub, or from the cache if it is too slow."""
    try:
        return in_time(lambda: download(spec.name, "config.json", revision=spec.revision))
    except TimeoutError as late:
        try:
            return download(spec.name, "config.json", revision=spec.revision, local_files_only=True)
        except (OSError, ValueError):
            raise late from None


def _check_files(spec: ModelSpec, files: set[str]) -> None:
    if "config.json" not in files:
        raise refuse(
            "model.name",
            spec.name,
            "has no config.json",
            "Give a folder written by save_pretrained().",
        )
    if not files & {"model.safetensors", "model.safetensors.index.json"}:
        pickled = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
        if pickled:
            raise refuse(
                "model.name",
                spec.name,
                f"has its weights as pickle only ({pickled[0]}), which can run code when loaded",
                "Load them once where you trust them and save_pretrained() as safetensors.",
            )
        raise refuse("model.name", spec.name, "has no model.safetensors", "Save the weights there.")
    # Some tokenizers need no vocabulary; only their settings name them.
    if not files & {*VOCABULARIES, "tokenizer_config.json"}:
        raise refuse(
            "model.name", spec.name, "has no tokenizer", "Save the tokenizer into the same folder."
        )


def _config(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = f"config.json cannot be read: {error}"
        raise refuse("model.name", name, reason, _SAVE_AGAIN) from None
    if not isinstance(config, dict):
        raise refuse("model.name", name, "config.json is not a JSON object", _SAVE_AGAIN)
    return config


def _sites(config: Mapping[str, Any]) -> int:
    if not config.get("is_encoder_decoder"):
        layers = int(first_size(config, LAYERS))
        # DiffLlama's layers have two matrices of probabilities.
        return (layers - _recurrent(config, layers)) * (
            2 if config.get("model_type") == "diffllama" else 1
        )
    encoder = int(first_size(config, ("encoder_layers", *LAYERS)))
    decoder = int(first_size(config, ("decoder_layers", "num_decoder_layers", *LAYERS)))
    return encoder + 2 * decoder


def _recurrent(config: Mapping[str, Any], layers: int) -> int:
    """The number of layers whose tokens meet in a recurrent state, without probabilities."""
    types = config.get("layer_types") or config.get("layers_block_type")
    if not types and (period := config.get("attn_layer_period")):
        return layers - len(range(int(config.get("attn_layer_offset") or 0), layers, int(period)))
    return sum(one in ("linear_attention", "mamba") for one in types or ())


def _facts(
    spec: ModelSpec, config: Mapping[str, Any], revision: str | None, outputs: int | None
) -> ModelFacts:
    """Read the facts from a configuration; outputs: those of the weights, if known."""
    family = str(config.get("model_type", ""))
    listed = config.get("architectures")
    architectures = [str(name) for name in listed] if isinstance(listed, list) else []
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        raise refuse(
            "model.name",
            spec.name,
            f"is not a sequence classifier (architectures: {', '.join(architectures) or 'none'})",
            "Give a model fine-tuned for sequence classification.",
        )
    if family not in FAMILIES:
        why = reason_against(family)
        reason = f"is of the unsupported family {family!r}{why and ': '}{why}"
        raise refuse("model.name", spec.name, reason, f"Supported: {', '.join(FAMILIES)}.")
    if config.get("quantization_config"):
        message = "is quantised (quantization_config)"
        remedy = "Save it as float32, bfloat16 or float16."
        raise refuse("model.name", spec.name, message, remedy)
    try:
        names = config.get("id2label")
        for key in names or {}:
            int(key)  # as transformers does
        counted = config.get("num_labels")
        declared = int(counted) if counted is not None else len(names) if names else 2
        if outputs not in (None, declared):
            reason = f"config.json says {declared} labels, but the weights have {outputs} outputs"
            raise refuse("model.name", spec.name, reason, _SAVE_AGAIN)
        labels = label_names(names, min(declared, MAX_LABELS + 1))
        meaning = outputs_of(config.get("problem_type"), declared)
        sizes = {**(config.get("text_config") or {}), **config}  # of models that also take images
        layers = _sites(sizes)
        heads = int(first_size(sizes, HEADS))
        length = None if family in _UNLIMITED else first_size(sizes, POSITIONS) or None
        # RoBERTa's positions start after the padding index.
        absolute = config.get("position_embedding_type") == "absolute"
        offset = 2 if family in _OFFSET or (family == "esm" and absolute) else 0
        longest = None if length is None else int(length) - offset
    except (TypeError, ValueError, AttributeError, OverflowError, OptionError) as error:
        reason = f"config.json is inconsistent: {error}"
        raise refuse("model.name", spec.name, reason, _SAVE_AGAIN) from None
    if not (layers > 0 and heads > 0 and 0 < len(labels) <= MAX_LABELS):
        reason = f"config.json must name layers, heads and 1 to {MAX_LABELS:,} labels"
        raise refuse("model.name", spec.name, reason, _SAVE_AGAIN)
    return ModelFacts(
        family=family,
        labels=labels,
        outputs=meaning,
        layers=layers,
        heads=heads,
        max_length=longest,
        truncated_to=longest,
        token_types=None,
        notes=tuple(label_notes(names, declared)),
        revision=revision,
    )
