"""Random texts on which the structure of a model is found, checked and timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.errors import FAILURES, UnsupportedModelError, first_line
from headwise.replay.recording import Inputs

_SEEDS = 5


def native_logits(model: PreTrainedModel) -> tuple[tuple[Inputs, Inputs], Tensor]:
    """Return two probes of different shape, and the model's own logits for the first.

    Raises UnsupportedModelError for a model that does not run on token ids alone.
    """
    # Another seed in case the embeddings of single tokens are broken; their examples will fail.
    for seed in range(_SEEDS):
        probes = (
            probe_inputs(model, seed, 2, 7, padding=2),
            probe_inputs(model, seed, 3, 5, padding=2),
        )
        try:
            with torch.no_grad():
                native: Tensor = model(**probes[0]).logits
        except FAILURES as error:
            if token_id(model, "pad_token_id") is None:
                raise UnsupportedModelError(
                    "its configuration has no pad_token_id, without which the end of a padded "
                    "text is unknown; set model.config.pad_token_id"
                ) from error
            raise UnsupportedModelError(
                f"it does not run on token ids alone: {first_line(error)}"
            ) from error
        if native.isfinite().all():
            break
    return probes, native


def token_id(model: PreTrainedModel, name: str) -> int | None:
    """Return the id of a special token, such as ``eos_token_id``; None if the model has none.

    Configurations may lack the attribute, hold several ids, of which the first counts, or -1.
    """
    found: Any = getattr(model.config.get_text_config(), name, None)
    if isinstance(found, list | tuple):
        found = found[0] if found else None
    return None if found is None or found < 0 else int(found)


def vocabulary_size(model: PreTrainedModel) -> int:
    """Return the number of token ids that have an embedding."""
    return len(model.get_input_embeddings().weight)


def probe_inputs(
    model: PreTrainedModel, seed: int, batch: int, n: int, *, padding: int = 0
) -> dict[str, Tensor]:
    """Return random texts of n tokens, int64 [batch, n], with their attention mask.

    Each ends with the end-of-text token and has no other, if the model has one: BART and T5
    classify at it, and refuse a text without it. No other special token occurs.

    padding: positions that pad the last text
    """
    size = vocabulary_size(model)
    pad, end = token_id(model, "pad_token_id") or 0, token_id(model, "eos_token_id")
    special = {pad, end, token_id(model, "bos_token_id")}
    ids = [token for token in range(size) if token not in special] or [0]
    generator = torch.Generator().manual_seed(seed)
    text = torch.tensor(ids)[torch.randint(0, len(ids), (batch, n), generator=generator)]
    mask = torch.ones_like(text)
    if padding:
        mask[-1, -padding:] = 0
    if end is not None and end != pad and end < size:
        text[torch.arange(batch), mask.sum(1) - 1] = end
    text[mask == 0] = pad
    return {"input_ids": text.to(model.device), "attention_mask": mask.to(model.device)}
