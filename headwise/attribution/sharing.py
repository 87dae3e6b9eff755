"""Texts that may share a batch: no result may depend on what else is computed with it.

Some models look at the whole batch. Phi-3 and others with a LongRoPE choose their frequencies by
the longest text, dynamic ones scale them with it, and BART refuses texts with different numbers of
end-of-text tokens. Such models are found by computing texts alone, and get batches of like texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.attribution.memory import is_out_of_memory
from headwise.encoding import Encoded, pad, pad_id
from headwise.errors import FAILURES, HeadwiseError
from headwise.replay import Inputs
from headwise.replay.selfcheck import logits_tolerance

Forward = Callable[[Inputs], Tensor]
"""Returns the logits [B, C] of a batch."""

# Ranges of lengths whose shortest and longest text were found to give the same alone and together.
_alike: WeakKeyDictionary[nn.Module, list[tuple[int, int]]] = WeakKeyDictionary()


def may_share(model: PreTrainedModel, examples: Sequence[Encoded], forward: Forward) -> bool:
    """Tell whether the examples have the same logits in one batch as alone.

    The shortest and the longest are computed together and alone, once per model and range of
    lengths. They must agree to a tenth of the self-check's tolerance, or to all of it in half
    precision. Examples without finite logits are not compared; they fail by themselves.
    """
    if len(examples) == 1:
        return True
    short, *_, long = sorted(examples, key=lambda example: len(example.ids))
    span = len(short.ids), len(long.ids)
    alike = _alike.setdefault(model, [])
    if any(low <= span[0] and span[1] <= high for low, high in alike):
        return True

    def logits(*batch: Encoded) -> Tensor:
        return forward(pad(batch, pad_id(model), model.device))

    try:
        with torch.no_grad():
            together = logits(short, long)
            alone = torch.cat([logits(short), logits(long)])
    except (*FAILURES, MemoryError) as error:
        # Lack of memory is handled where the whole batch is computed.
        return not is_failure_of_example(error)
    if not (together.isfinite().all() and alone.isfinite().all()):
        return True
    exact = alone.dtype in (torch.float32, torch.float64)
    tolerance = logits_tolerance(alone) / (10 if exact else 1)
    if float((together - alone).abs().max()) > tolerance:
        return False
    _join(alike, span)
    return True


def is_failure_of_example(error: BaseException) -> bool:
    """Tell whether a model's own code may have raised an error because of a text.

    Lack of memory, broken devices and errors of this package are none.
    """
    if not isinstance(error, FAILURES) or isinstance(error, HeadwiseError):
        return False
    broken = isinstance(error, torch.AcceleratorError) or "CUDA" in str(error)
    return not (broken or is_out_of_memory(error))


def halves(batch: Sequence[int]) -> list[list[int]]:
    """Return a batch in two parts, of texts of similar length."""
    middle = len(batch) // 2
    return [list(part) for part in (batch[:middle], batch[middle:]) if part]


def _join(alike: list[tuple[int, int]], span: tuple[int, int]) -> None:
    """Add a range; ranges with a common length are one, since equality is transitive."""
    low, high = span
    for other in list(alike):
        if other[0] <= high and low <= other[1]:
            alike.remove(other)
            low, high = min(low, other[0]), max(high, other[1])
    alike.append((low, high))
