"""Removing attention heads: smaller projections with the outputs of the masked model.

A head is removed with its rows of the query, key and value projections and its columns of the
output projection, which Michel et al. (2019, "Are Sixteen Heads Really Better than One?") mask.
``headwise.pruning.wiring`` finds these; a model whose logits then differ from those of the masked
model on random token ids is refused.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from headwise.errors import FAILURES, OptionError, UnsupportedModelError, first_line
from headwise.pruning.shrinking import Cut, cut_of
from headwise.pruning.wiring import Mask, Watch, Wiring
from headwise.replay import Inputs, Replay, Site
from headwise.replay.hooks import Attention, attend, handling
from headwise.replay.probes import native_logits, probe_inputs

# Some models compute parts in single precision even where all else is double.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}
_HALF_TOLERANCE = 5e-2


def remove_heads(model: PreTrainedModel, mask: ArrayLike) -> PreTrainedModel:
    """Return a copy without the heads of a mask, in eval mode.

    mask: bool [sites, heads], True where a head is removed; sites as in ``LoadedModel.sites``

    Its logits are those of the model with the removed heads' part of the input of the output
    projection set to zero. A module without any heads outputs the bias of its output projection.
    Query heads that share a key and a value may be removed unevenly.

    Raises OptionError for a mask that does not fit, and UnsupportedModelError if the outputs would
    differ.
    """
    return cut_heads(model, mask)[0]


def cut_heads(
    model: PreTrainedModel, mask: ArrayLike
) -> tuple[PreTrainedModel, list[Cut], tuple[Site, ...], Mask]:
    """Remove heads, and also return the cuts, all sites, and the checked mask."""
    with Replay(model) as replay:
        sites = replay.sites
        removed = checked_mask(mask, sites)
        wirings = _wirings(replay, model, removed)
        probes, expected = _masked_logits(replay, removed)
        cuts = [
            cut_of(model.get_submodule(wiring.site.name), wiring, ~removed[wiring.site.index])
            for wiring in wirings
        ]
    pruned = copy.deepcopy(model).eval()
    try:
        for cut in cuts:
            cut.apply(pruned)
        with torch.no_grad():
            logits = [pruned(**probe).logits for probe in probes]
        _compare(model, logits, expected)
    except FAILURES as error:
        raise _refusal(
            model,
            "the smaller model does not run, as parts of it are made for all heads "
            "together; zero them (headwise.zero_heads, or the format 'masked')",
        ) from error
    return pruned, cuts, sites, removed


def zero_heads(model: PreTrainedModel, mask: ArrayLike) -> PreTrainedModel:
    """Return a copy, in eval mode, with the columns of the heads in the output projections zeroed.

    It has the shapes of the model and the logits of ``remove_heads``, and raises the same errors.
    """
    with Replay(model) as replay:
        removed = checked_mask(mask, replay.sites)
        wirings = _wirings(replay, model, removed)
        probes, expected = _masked_logits(replay, removed)
    _check_shared(model, wirings, removed)
    zeroed = copy.deepcopy(model).eval()
    with torch.no_grad(), _as_refusal(model, "the masked model does not run"):
        for wiring in wirings:
            layer = zeroed.get_submodule(wiring.output)
            lost = removed[wiring.site.index, : wiring.site.heads]
            columns = torch.as_tensor(wiring.columns[:, lost].any(1))
            rows = layer.weight if isinstance(layer, Conv1D) else layer.weight.t()
            rows[columns.to(rows.device)] = 0
        _compare(model, [zeroed(**probe).logits for probe in probes], expected)
    return zeroed


def _check_shared(model: PreTrainedModel, wirings: Sequence[Wiring], removed: Mask) -> None:
    """Refuse different masks for modules of which one has the weights of the other."""
    masks = {wiring.output: removed[wiring.site.index].tolist() for wiring in wirings}
    for output, mask in masks.items():
        weight = model.get_submodule(output).weight
        for name, module in model.named_modules():
            if getattr(module, "weight", None) is weight and masks.get(name) != mask:
                raise _refusal(
                    model,
                    f"{output} and {name} share their weights; give both the same mask, or remove "
                    "the heads (headwise.remove_heads, or the format 'smaller')",
                )


def checked_mask(mask: ArrayLike, sites: Sequence[Site]) -> Mask:
    """Return a mask as an array. Raises OptionError if it does not fit the sites."""
    array = np.asarray(mask)
    shape = (len(sites), max(site.heads for site in sites))
    if array.dtype != np.bool_ or array.shape != shape:
        raise OptionError(
            f"mask has type {array.dtype} and shape {list(array.shape)}; give one bool per "
            f"attention module and head, {list(shape)}, True where the head is removed"
        )
    for site in sites:
        if array[site.index, site.heads :].any():
            raise OptionError(
                f"mask removes head {site.heads} or a later one of site {site.index} "
                f"({site.name}), which has {site.heads} heads; set these to False"
            )
    return array


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Size and speed of two models.

    parameters: number in the first and in the second model
    attention_parameters: the same for the projections before and after attention
    seconds: median duration of a forward pass over ``batch`` texts of ``length`` tokens
    """

    parameters: tuple[int, int]
    attention_parameters: tuple[int, int]
    seconds: tuple[float, float]
    batch: int
    length: int

    @property
    def speedup(self) -> float:
        """Seconds of the first model divided by those of the second."""
        return self.seconds[0] / self.seconds[1]


def describe(
    model: PreTrainedModel,
    pruned: PreTrainedModel,
    *,
    batch: int = 1,
    length: int = 128,
    runs: int = 15,
) -> Comparison:
    """Compare a model in eval mode and its version from ``remove_heads``, timed in turns.

    Raises UnsupportedModelError for a model that does not run on ``batch`` texts of ``length``
    tokens.
    """
    layers, inputs = _attention_layers(model), probe_inputs(model, 0, batch, length)
    seconds: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(runs + 1):
            for each, times in zip((model, pruned), seconds, strict=True):
                times.append(_forward_seconds(each, inputs))
    except FAILURES as error:
        raise UnsupportedModelError(
            f"model type {model.config.model_type!r} does not run on {batch} random texts of "
            f"{length} tokens: {first_line(error)}; choose another batch or length"
        ) from error
    medians = [statistics.median(times[1:]) for times in seconds]  # the first warms up
    return Comparison(
        parameters=(_count(model), _count(pruned)),
        attention_parameters=(_count(model, layers), _count(pruned, layers)),
        seconds=(medians[0], medians[1]),
        batch=batch,
        length=length,
    )


def _attention_layers(model: PreTrainedModel) -> list[str]:
    """Qualified names of the projections before and after all attention modules."""
    with Replay(model) as replay:
        watch = Watch(replay, _probes(replay)[0])
        wirings = {site.name: watch.wiring(site) for site in replay.sites}.values()
    return [name for wiring in wirings for name in (*wiring.inputs, wiring.output)]


def _count(model: PreTrainedModel, layers: Sequence[str] = ("",)) -> int:
    modules = [model.get_submodule(name) for name in layers]
    return sum(p.numel() for p in {p for m in modules for p in m.parameters()})


def _forward_seconds(model: PreTrainedModel, inputs: Inputs) -> float:
    with torch.inference_mode():
        start = time.perf_counter()
        model(**inputs).logits.cpu()
        return time.perf_counter() - start


def _refusal(model: PreTrainedModel, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"heads of model type {model.config.model_type!r} ({type(model).__name__}) cannot be "
        f"removed with these masks: {reason}"
    )


@contextmanager
def _as_refusal(model: PreTrainedModel, what: str) -> Iterator[None]:
    """Turn errors of a model's own code into ours; ``what`` failed."""
    try:
        yield
    except FAILURES as error:
        raise _refusal(model, f"{what}: {first_line(error)}") from error


def _wirings(replay: Replay, model: PreTrainedModel, removed: Mask) -> list[Wiring]:
    """The wiring of every module that loses heads, once if several sites share it."""
    found: dict[str, Wiring] = {}
    watch = Watch(replay, _probes(replay)[0])
    for site in replay.sites:
        others = [other.index for other in replay.sites if other.name == site.name]
        rows = removed[others]
        if not rows.any() or site.name in found:
            continue
        if (rows != rows[0]).any():
            raise _refusal(
                model,
                f"{site.name} is one module that serves {len(others)} layers, sites "
                f"{', '.join(map(str, others))}; give them the same mask",
            )
        try:
            found[site.name] = watch.wiring(site)
        except UnsupportedModelError as error:
            raise _refusal(model, f"{site.name}: {error}") from error
    return list(found.values())


def _probes(replay: Replay) -> tuple[Inputs, Inputs]:
    with handling(attend):
        return native_logits(replay.model)[0]


def _masked_logits(replay: Replay, removed: Mask) -> tuple[tuple[Inputs, Inputs], list[Tensor]]:
    """Random inputs, and the logits of the model with masked O."""
    probes, expected = _probes(replay), []
    for probe in probes:
        sites = iter(removed)

        def handler(call: Attention, sites: Any = sites) -> Tensor:
            output = attend(call)
            keep = torch.as_tensor(~next(sites)[: output.shape[2]], device=output.device)
            return output * keep[:, None].to(output.dtype)

        with torch.no_grad(), handling(handler):
            expected.append(replay.model(**probe).logits)
    return probes, expected


def _compare(model: PreTrainedModel, logits: list[Tensor], expected: list[Tensor]) -> None:
    for got, wanted in zip(logits, expected, strict=True):
        if not wanted.isfinite().all():
            raise _refusal(model, "its logits are not finite")
        size = max(1.0, float(wanted.abs().max()))
        difference = float((got - wanted).abs().max()) / size
        if not difference <= _TOLERANCE.get(wanted.dtype, _HALF_TOLERANCE):
            raise _refusal(
                model, f"the logits would differ by {difference:.1e} from those of the mask"
            )
