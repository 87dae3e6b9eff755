"""The numerical check that decides whether a model can be replayed, and with which shortcuts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.errors import FAILURES, UnsupportedModelError
from headwise.replay.discovery import ModelStructure
from headwise.replay.forward import LastLayer, Shortcuts, partial_logits, record
from headwise.replay.hooks import Attention, attend, handling
from headwise.replay.recording import Inputs, Recording, RowGroup

# Kernels in half precision differ in the fourth digit; many models compute their softmax in single
# precision even where all else is double.
_TOLERANCES = {torch.float64: (1e-5, 1e-9), torch.float32: (1e-3, 1e-3)}
_HALF_TOLERANCES = (0.1, 0.1)
"""By data type: of logits between two implementations of attention, and of a replay."""


def choose_shortcuts(
    model: PreTrainedModel, structure: ModelStructure, probe: Inputs, native: Tensor
) -> Shortcuts:
    """Compare replays with the model itself, and return the shortcuts that agree.

    1. The logits through our attention function equal the model's own.
    2. Padding changes nothing: texts share batches.
    3. For every site, replacing O by O / 2 in a partial pass gives the logits of the complete model
       with O halved; one site at a time, and all sites in one pass.

    All shortcuts are tried first; if they disagree, those that do not spoil the result.

    probe: random texts, the last one padded by two; native: logits of the model for them

    Raises UnsupportedModelError for a model that cannot be replayed exactly.
    """
    recording = record(model, structure, Shortcuts(), probe)
    if not native.isfinite().all():
        return Shortcuts()  # The weights are broken; every example will fail with this reason.
    exact = logits_tolerance(native)
    difference = float((recording.logits - native).abs().max())
    if not difference <= exact:
        raise UnsupportedModelError(
            "its attention is not softmax(QK')V under its mask: through this library its logits "
            f"differ by {difference:.1e}"
        )
    _check_padding(model, recording, exact)
    _check_influence(model, structure, probe)
    check = _Check(
        model=model,
        structure=structure,
        probe=probe,
        expected=[_halved(model, probe, site) for site in range(len(structure.sites))],
        tolerance=_TOLERANCES.get(native.dtype, _HALF_TOLERANCES)[1] * _size(native),
    )
    if all(float((logits - native).abs().max()) == 0 for logits in check.expected):
        raise UnsupportedModelError("its attention has no influence on its logits")
    return check.choose()


def logits_tolerance(logits: Tensor) -> float:
    """Return how much logits may differ between two ways to compute them."""
    return _TOLERANCES.get(logits.dtype, _HALF_TOLERANCES)[0] * _size(logits)


def _size(logits: Tensor) -> float:
    return max(1.0, float(logits.abs().max()))


def _check_padding(model: PreTrainedModel, recording: Recording, tolerance: float) -> None:
    alone = {name: tensor[-1:, :-2] for name, tensor in recording.inputs.items()}
    with handling(attend):
        unpadded = model(**alone).logits
    if not _close(unpadded, recording.logits[-1:], tolerance):
        raise UnsupportedModelError("its logits depend on the padding of a text")


def _check_influence(model: PreTrainedModel, structure: ModelStructure, probe: Inputs) -> None:
    """Refuse a model whose logits do not follow from the attention of every site."""
    with torch.enable_grad():
        recording = record(model, structure, Shortcuts(), probe)
        gradients = torch.autograd.grad(recording.logits.sum(), recording.output, allow_unused=True)
    for site, gradient in zip(structure.sites, gradients, strict=True):
        if gradient is None:
            raise UnsupportedModelError(
                f"the attention of {site.name} has no influence on its logits"
            )


@dataclass(frozen=True, kw_only=True)
class _Check:
    """Replays of a probe, to compare with the expected logits [B, C] with each site halved."""

    model: PreTrainedModel
    structure: ModelStructure
    probe: Inputs
    expected: list[Tensor]
    tolerance: float

    def choose(self) -> Shortcuts:
        """The shortcuts with which replays agree."""
        full = Shortcuts(skip=True, stub=True, chain=True)
        modes = self._last_layer_modes()
        for mode in [*modes, LastLayer.EVERY_ROW]:
            if self._agrees(candidate := replace(full, last_layer=mode)):
                return candidate
        chosen = Shortcuts()
        if not self._agrees(chosen):
            raise UnsupportedModelError("running it from one of its layers gives another result")
        options: list[dict[str, Any]] = [{"skip": True}, {"stub": True}, {"chain": True}]
        for option in [*options, *({"last_layer": mode} for mode in modes[::-1])]:
            if self._agrees(candidate := replace(chosen, **option)):
                chosen = candidate
        return chosen

    def _last_layer_modes(self) -> list[LastLayer]:
        """The replays that the structure allows, fastest first."""
        if not self.structure.one_row:
            return []
        last = self.structure.layers[-1]
        single = last.stop - last.first == 1 and last.key is not None and last.value is not None
        return [*([LastLayer.ONE_ROW] if single else []), LastLayer.ONE_QUERY]

    def _agrees(self, shortcuts: Shortcuts) -> bool:
        try:
            return self._replays_agree(shortcuts)
        except FAILURES:
            return False

    def _replays_agree(self, shortcuts: Shortcuts) -> bool:
        recording = record(self.model, self.structure, shortcuts, self.probe)

        def agrees(groups: list[RowGroup]) -> bool:
            logits = partial_logits(self.model, self.structure, shortcuts, recording, groups)
            wanted = [self.expected[group.site][group.rows] for group in groups]
            return _close(logits, torch.cat(wanted), self.tolerance)

        groups = [_halved_rows(recording, site) for site in range(len(self.expected))]
        return all(agrees([group]) for group in groups) and agrees(groups)


def _halved_rows(recording: Recording, site: int) -> RowGroup:
    """Rows with O of a site halved; each site has another number of rows, in another order."""
    count = len(recording.logits)
    rows = (torch.arange(count + site % 2, device=recording.logits.device) + site) % count
    output = recording.relevant(site, recording.output[site]).index_select(0, rows) / 2
    return RowGroup(site=site, rows=rows, output=output)


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return one.shape == other.shape and float((one - other).abs().max()) <= tolerance


def _halved(model: PreTrainedModel, inputs: Inputs, site: int) -> Tensor:
    """Logits of the complete model with O of one site halved."""
    count = 0

    def handler(call: Attention) -> Tensor:
        nonlocal count
        output = attend(call)
        count += 1
        return output / 2 if count - 1 == site else output

    with handling(handler):
        logits: Tensor = model(**inputs).logits
    return logits
