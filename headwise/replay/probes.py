"""Random texts on which the structure of a model is found and checked."""

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
    config = model.config.get_text_config()
    # Another seed in case the embeddings of single tokens are broken; their examples will fail.
    for seed in range(_SEEDS):
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
            raise UnsupportedModelError(
                f"it does not run on token ids alone: {first_line(error)}"
            ) from error
        if native.isfinite().all():
            break
    return probes, native


def probe_inputs(
    model: PreTrainedModel, config: Any, seed: int, batch: int, n: int
) -> dict[str, Tensor]:
    """Return random texts of n tokens, the last one padded by two.

    Each ends with the end-of-text token, if the model has one.
    """
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
