"""The numerical check that decides whether a model can be replayed, and by which short cuts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.errors import FAILURES, UnsupportedModelError
from headwise.replay.forward import Features
from headwise.replay.hooks import Attention, attend, handling
from headwise.replay.tape import Group, Inputs, Tape

if TYPE_CHECKING:
    from headwise.replay.model import Replay

_PROBES = 5


def native_logits(model: PreTrainedModel) -> tuple[tuple[Inputs, Inputs], Tensor]:
    """Two probes of different shape, and the logits of the first by the model's own attention."""
    config = model.config.get_text_config()
    # Another seed if single tokens have broken embeddings; those are for their examples.
    for seed in range(_PROBES):
        try:
            probes = (
                probe_inputs(model, config, seed, 2, 7),
                probe_inputs(model, config, seed, 3, 5),
            )
            with torch.no_grad():
                native: Tensor = model(**probes[0]).logits
        except FAILURES as error:
            if config.pad_token_id is None:
                raise UnsupportedModelError(
                    "its configuration has no pad_token_id, without which the end of a padded "
                    "text is unknown; set model.config.pad_token_id"
                ) from error
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UnsupportedModelError(f"it does not run on token ids alone: {reason}") from error
        if native.isfinite().all():
            break
    return probes, native


def probe_inputs(
    model: PreTrainedModel, config: Any, seed: int, batch: int, n: int
) -> dict[str, Tensor]:
    """Random texts of n tokens, the last padded by two; each ends with its end-of-text token."""
    pad, end = config.pad_token_id or 0, config.eos_token_id
    end = end[0] if isinstance(end, list) else end
    special = {pad, end, config.bos_token_id}
    ids = [token for token in range(config.vocab_size) if token not in special] or [0]
    generator = torch.Generator().manual_seed(seed)
    text = torch.tensor(ids)[torch.randint(0, len(ids), (batch, n), generator=generator)]
    mask = torch.ones_like(text)
    mask[-1, n - 2 :] = 0
    if end is not None and end != pad and end < config.vocab_size:
        text[:-1, -1] = end
        text[-1, n - 3] = end
    text[mask == 0] = pad
    return {"input_ids": text.to(model.device), "attention_mask": mask.to(model.device)}


def choose_features(replay: Replay, probe: Inputs, native: Tensor) -> None:
    """Compare replays with the model itself, on random token ids, one example padded.

    1. The logits through our attention function equal those of the model's own.
    2. Padding changes nothing: texts share batches.
    3. For every site, replacing O by O / 2 in a replay gives what the complete model gives
       when the same is done in its ordinary forward pass; one site at a time, and all of them
       in one replay.
    With all short cuts first; if that disagrees, with those of them that do not spoil it.
    """
    tape = replay.record(probe)
    if not native.isfinite().all():
        return  # The weights are broken; every example will fail with that reason.
    # Half precision differs in the fourth digit between two kernels alone; many models compute
    # their softmax in single precision even where all else is double.
    exact, tolerance = {torch.float64: (1e-5, 1e-9), torch.float32: (1e-3, 1e-3)}.get(
        native.dtype, (0.1, 0.1)
    )
    size = max(1.0, float(native.abs().max()))
    tolerance *= size
    difference = float((tape.logits - native).abs().max())
    if not difference <= exact * size:
        raise UnsupportedModelError(
            "its attention is not softmax(QK')V under its mask: through this library its logits "
            f"differ by {difference:.1e}"
        )
    alone = {name: tensor[-1:, :-2] for name, tensor in probe.items()}
    with handling(attend):
        unpadded = replay.model(**alone).logits
    if not _close(unpadded, tape.logits[-1:], exact * size):
        raise UnsupportedModelError("its logits depend on the padding of a text")
    expected = [_halved(replay, tape, site) for site in range(len(replay.sites))]
    if all(float((logits - native).abs().max()) == 0 for logits in expected):
        raise UnsupportedModelError("its attention has no influence on its logits")

    def passes(features: Features) -> bool:
        replay.features = features
        return _agrees(replay, probe, expected, tolerance)

    last = replay.plan.blocks[-1]
    single = last.stop - last.first == 1 and last.key is not None and last.value is not None
    modes = [*(["projected"] if single else []), "captured"] if replay.plan.one_row else []
    full = Features(skip=True, stub=True, chain=True)
    for mode in [*modes, ""]:
        if passes(replace(full, one_row=mode)):
            return
    chosen = Features()
    if not passes(chosen):
        raise UnsupportedModelError("running it from one of its layers gives another result")
    options: list[dict[str, Any]] = [{"skip": True}, {"stub": True}, {"chain": True}]
    for option in [*options, *({"one_row": mode} for mode in modes[::-1])]:
        candidate = replace(chosen, **option)
        if passes(candidate):
            chosen = candidate
    replay.features = chosen


def _agrees(replay: Replay, probe: Inputs, expected: list[Tensor], tolerance: float) -> bool:
    try:
        tape = replay.record(probe)
        count = len(tape.logits)
        groups = []
        for site, logits in enumerate(expected):
            # Each site has another number of rows, in another order.
            rows = (torch.arange(count + site % 2, device=logits.device) + site) % count
            group = Group(
                site=site,
                rows=rows,
                output=tape.relevant(site, tape.output[site]).index_select(0, rows) / 2,
            )
            groups.append(group)
            if not _close(replay.logits(tape, [group]), logits[rows], tolerance):
                return False
        wanted = torch.cat(
            [logits[group.rows] for logits, group in zip(expected, groups, strict=True)]
        )
        return _close(replay.logits(tape, groups), wanted, tolerance)
    except FAILURES:
        return False


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return one.shape == other.shape and float((one - other).abs().max()) <= tolerance


def _halved(replay: Replay, tape: Tape, site: int) -> Tensor:
    """Logits of the whole model with O of one site halved."""
    count = 0

    def handler(call: Attention) -> Tensor:
        nonlocal count
        output = attend(call)
        count += 1
        return output / 2 if count - 1 == site else output

    with handling(handler):
        logits: Tensor = replay.model(**tape.inputs).logits
    return logits
