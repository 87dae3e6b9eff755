"""Exporting a model without some of its heads: as a Hugging Face folder, smaller, or as ONNX."""

from __future__ import annotations

import copy
import importlib
import json
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from headwise.errors import (
    FAILURES,
    ModelError,
    ModelNotFoundError,
    OptionError,
    UnsupportedModelError,
    first_line,
)
from headwise.models.configuring import settle
from headwise.models.inputs import takes_token_types
from headwise.models.loading import DTYPES, read_config, read_tokenizer, resolve_device
from headwise.pruning.shrinking import SIZE_NAMES, Cut
from headwise.pruning.structure import cut_heads, remove_heads, zero_heads
from headwise.pruning.wiring import Mask
from headwise.replay import Site
from headwise.replay.probes import native_logits, probe_inputs
from headwise.targets import label_names

WEIGHTS, RECIPE, ONNX = "pruned.safetensors", "pruned.json", "model.onnx"
"""File names; not model.safetensors, which other programs would load into the whole model."""

ONNX_TOLERANCE = 1e-4
_FORMAT = 1
_ONE_FILE = 1 << 30  # bytes; the limit of an ONNX file is two gigabytes


@dataclass(frozen=True, kw_only=True)
class PrunedModel:
    """A classifier without some of its heads.

    model: in eval mode, on ``device``, with parameters of type ``dtype``
    tokenizer: stored with the model
    labels: names of the classes, by index
    sites: the attention modules of the whole model
    removed: the removed heads, bool [sites, heads]
    device, dtype: as in ``LoadedModel``
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    sites: tuple[Site, ...]
    removed: Mask
    device: str
    dtype: str


def save_masked(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mask: ArrayLike, folder: str | Path
) -> None:
    """Write the model of ``zero_heads`` as an ordinary Hugging Face folder.

    mask: bool [sites, heads], True where a head is removed
    folder: new or empty; it is written completely or not at all

    Raises OptionError and UnsupportedModelError.
    """
    with _new_folder(folder) as target:
        zero_heads(model, mask).save_pretrained(target)
        tokenizer.save_pretrained(target)


def save_pruned(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mask: ArrayLike, folder: str | Path
) -> None:
    """Write the smaller model of ``remove_heads`` for ``load_pruned``.

    Arguments and errors are those of ``save_masked``.
    """
    classes = AutoModelForSequenceClassification._model_mapping
    if classes.get(type(model.config), None) is not type(model):
        raise UnsupportedModelError(
            f"{type(model).__name__} is not what transformers makes of its configuration as a "
            "sequence classifier, so that it could not be loaded again; use save_masked"
        )
    with _new_folder(folder) as target:
        pruned, cuts, sites, removed = cut_heads(model, mask)
        config = copy.deepcopy(pruned.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(target)
        save_model(pruned, str(target / WEIGHTS), metadata={"format": "pt"})
        recipe = {
            "format": _FORMAT,
            "sites": [asdict(site) for site in sites],
            "removed": [np.flatnonzero(row).tolist() for row in removed],
            "cuts": [asdict(cut) for cut in cuts],
        }
        (target / RECIPE).write_text(json.dumps(recipe, indent=1), encoding="utf-8")
        tokenizer.save_pretrained(target)


def load_pruned(folder: str | Path, *, dtype: str = "float32", device: str = "auto") -> PrunedModel:
    """Load a folder that ``save_pruned`` wrote; ``dtype`` and ``device`` as in ``headwise.load``.

    Raises OptionError, ModelNotFoundError for a missing file, and ModelError for a broken one.
    """
    if dtype not in DTYPES:
        raise OptionError(f"dtype {dtype!r} is unknown; use one of {', '.join(DTYPES)}")
    where, path = resolve_device(device), Path(folder).expanduser()
    for name in ("config.json", RECIPE, WEIGHTS):
        if not (path / name).is_file():
            raise ModelNotFoundError(
                f"pruned model '{path}' has no {name}; give a folder that save_pruned wrote"
            )
    sites, removed, cuts = _read_recipe(path / RECIPE)
    config, tokenizer = read_config(path), read_tokenizer(path)
    settle(config, tokenizer)
    try:
        model = AutoModelForSequenceClassification.from_config(config, dtype=DTYPES[dtype])
        for cut in cuts:
            cut.apply(model)
        load_model(model, path / WEIGHTS, strict=True)
    except (*FAILURES, SafetensorError, OSError) as error:
        raise ModelError(
            f"pruned model '{path}': config.json, {RECIPE} and {WEIGHTS} do not belong together, "
            f"or one is broken: {first_line(error)}; export the model again"
        ) from error
    return PrunedModel(
        model=model.to(where).eval(),
        tokenizer=tokenizer,
        labels=label_names(model),
        sites=sites,
        removed=removed,
        device=str(where),
        dtype=dtype,
    )


def _read_recipe(path: Path) -> tuple[tuple[Site, ...], Mask, list[Cut]]:
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        if recipe["format"] != _FORMAT:
            raise ValueError(f"format is {recipe['format']!r}, this version reads {_FORMAT}")
        sites = tuple(_read_site(site) for site in recipe["sites"])
        removed = np.zeros((len(sites), max(site.heads for site in sites)), dtype=bool)
        for row, heads in zip(removed, recipe["removed"], strict=True):
            row[heads] = True
        cuts = [_read_cut(cut) for cut in recipe["cuts"]]
    except (*FAILURES, UnicodeDecodeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise ModelError(f"'{path}' cannot be read: {reason}; export the model again") from error
    return sites, removed, cuts


def _read_site(values: Any) -> Site:
    return Site(**_checked(Site, vars(Site.from_json(values))))


def _read_cut(values: Any) -> Cut:
    values = _checked(Cut, values)
    unknown = set(values["attributes"]) - SIZE_NAMES
    if unknown or not all(type(size) is int for size in values["attributes"].values()):
        raise ValueError(f"attributes is {values['attributes']!r}, not sizes of a module")
    runs = {name: _read_runs(name, each) for name, each in values["inputs"].items()}
    columns = _read_runs("columns", values["columns"])
    return Cut(**{**values, "inputs": runs, "columns": columns})


def _read_runs(name: str, runs: Any) -> list[tuple[int, int, int]]:
    for run in runs:
        if not (
            len(run) == 3
            and all(type(number) is int for number in run)
            and 0 <= run[0] < run[1] < 1 << 20
            and 1 <= run[2] < 1 << 10
        ):
            raise ValueError(f"{name} has {run!r}, which is not [start, stop, times]")
    return [(start, stop, times) for start, stop, times in runs]


def _checked(kind: type, values: Any) -> dict[str, Any]:
    """The fields of a part of the recipe, checked against the types that JSON gives."""
    types = {"int": int, "str": str, "bool": bool, "dict": dict, "list": list}
    wanted = {field.name: types[str(field.type).partition("[")[0]] for field in fields(kind)}
    if set(values) != set(wanted):
        raise ValueError(f"{kind.__name__} has {sorted(values)}, not {sorted(wanted)}")
    for name, expected in wanted.items():
        if type(values[name]) is not expected:
            raise ValueError(f"{name} is {values[name]!r}, not of type {expected.__name__}")
    return dict(values)


def save_onnx(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mask: ArrayLike, folder: str | Path
) -> float:
    """Write the smaller model of ``remove_heads`` as ONNX, or else that of ``zero_heads``.

    Inputs are ``input_ids``, ``attention_mask`` and, if tokenizer and model have them,
    ``token_type_ids``, int64 [batch, sequence], both of any size; the output is ``logits``.

    Returns the largest difference between the logits of onnxruntime and torch, relative to the
    largest logit (or 1), also on shapes other than the exported one.

    Arguments and errors are those of ``save_masked``, and UnsupportedModelError if the difference
    exceeds ``ONNX_TOLERANCE``.
    """
    runtime = _optional("onnxruntime")
    for name in ("onnx", "onnxscript"):
        _optional(name)
    with _new_folder(folder) as target:
        pruned = smallest(model, mask).float().cpu()
        pruned.config.use_cache = False
        shapes = [*native_logits(pruned)[0], probe_inputs(pruned, 1, 1, 3)]
        probes = [_with_types(pruned, tokenizer, probe) for probe in shapes]
        _export(pruned, probes[0], target / ONNX)
        worst = _largest_difference(runtime, target / ONNX, pruned, probes)
        if not worst <= ONNX_TOLERANCE:
            raise UnsupportedModelError(
                f"model type {pruned.config.model_type!r} cannot be exported as ONNX: onnxruntime "
                f"gives logits that differ by {worst:.1e}"
            )
        model.config.save_pretrained(target)
        tokenizer.save_pretrained(target)
    return worst


def smallest(model: PreTrainedModel, mask: ArrayLike) -> PreTrainedModel:
    """Return the model of ``remove_heads``, or where that is refused the one of ``zero_heads``."""
    try:
        return remove_heads(model, mask)
    except UnsupportedModelError:
        return zero_heads(model, mask)


class _Logits(nn.Module):
    """A model with positional inputs and a single tensor as output."""

    def __init__(self, model: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def _export(model: PreTrainedModel, inputs: dict[str, Tensor], path: Path) -> None:
    names = list(inputs)
    axes = {0: "batch", 1: "sequence"}
    size = sum(parameter.nbytes for parameter in model.parameters())
    try:
        # The exporter and its libraries warn about their own code.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Logits(model, names).eval(),
                tuple(inputs.values()),
                path,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(tuple(axes for _ in names),),
                external_data=size > _ONE_FILE,
                dynamo=True,
                verbose=False,
            )
    except (*FAILURES, torch.onnx.OnnxExporterError) as error:
        raise UnsupportedModelError(
            f"model type {model.config.model_type!r} cannot be exported as ONNX: "
            f"{first_line(error)}"
        ) from error


def _with_types(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, inputs: Any
) -> dict[str, Tensor]:
    ids = inputs["input_ids"]
    if not takes_token_types(model, tokenizer):
        return dict(inputs)
    count = getattr(model.config, "type_vocab_size", None) or 1
    return {**inputs, "token_type_ids": torch.arange(ids.numel()).view_as(ids) % count}


def _largest_difference(
    runtime: Any, path: Path, model: PreTrainedModel, probes: list[dict[str, Tensor]]
) -> float:
    """The largest difference of onnxruntime's logits from torch's, relative to the largest logit.

    Raises UnsupportedModelError where onnxruntime does not run the file.
    """
    try:
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = [
            session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]
            for inputs in probes
        ]
    except Exception as error:  # onnxruntime's errors share no other base class
        raise UnsupportedModelError(
            f"model type {model.config.model_type!r} cannot be exported as ONNX: onnxruntime does "
            f"not run it: {first_line(error)}; export it as a smaller or masked model"
        ) from error
    worst = 0.0
    for inputs, got in zip(probes, found, strict=True):
        with torch.no_grad():
            wanted = model(**inputs).logits.numpy()
        worst = max(worst, float(np.abs(got - wanted).max() / max(1.0, np.abs(wanted).max())))
    return worst


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OptionError(
            f"ONNX export needs {name}, which is not installed: pip install headwise[onnx]"
        ) from error


@contextmanager
def _new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder that is renamed to the wanted one if nothing is raised."""
    wanted = Path(folder).expanduser().absolute()
    if wanted.exists() and not (wanted.is_dir() and not any(wanted.iterdir())):
        raise OptionError(f"folder '{wanted}' is there and not empty; choose a new one")
    partial = wanted.with_name(f".{wanted.name}.{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise OptionError(f"folder '{wanted}' cannot be written: {error.strerror}") from error
    try:
        yield partial
        if wanted.exists():
            wanted.rmdir()
        partial.replace(wanted)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
