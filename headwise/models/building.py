"""Building a model without memory first: what its configuration makes, held against its weights.

A configuration of a kilobyte can ask for more layers, experts or tables than any machine has room
for. On the meta device nothing is allocated, and building stops at more parameters than the
weights have tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks
from transformers import AutoModelForSequenceClassification

from headwise.errors import DamagedModelError, in_words
from headwise.models.files import CONFIG, ModelFiles

_SPARE_BYTES = 1 << 30
"""Bytes that tables, such as causal masks, may have beyond twice the weights' size."""


class _TooManyError(Exception):
    """The model has more parts than its weights."""


def check_build(files: ModelFiles, config: Any) -> None:
    """Build the model on the meta device and compare it with the weights.

    Raises DamagedModelError for a configuration that cannot be built, that makes more or larger
    parameters than the weights have, or that needs tables out of all proportion.
    """
    where = f"{CONFIG} in model folder '{files.folder}'"
    try:
        with _limited(2 * len(files.shapes) + 100), torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except _TooManyError:
        raise DamagedModelError(
            f"{where} makes a model of more parts than the {len(files.shapes):,} tensors in the "
            "weights; write the folder again with save_pretrained()"
        ) from None
    except Exception as error:  # foreign code, and any configuration
        raise DamagedModelError(f"{where} cannot be built: {in_words(error)}") from error
    for name, tensor in model.state_dict().items():
        found = files.shapes.get(name)
        if found is not None and found != tuple(tensor.shape):
            raise DamagedModelError(
                f"{name} is {_shown(found)} in the weights, but {where} makes it "
                f"{_shown(tuple(tensor.shape))}"
            )
    made = sum(parameter.numel() for parameter in model.parameters())
    if made > 2 * files.parameters + 1_000_000:
        raise DamagedModelError(
            f"{where} makes {made:,} parameters, but the weights have {files.parameters:,}"
        )
    tables = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if tables > 8 * files.parameters + _SPARE_BYTES:
        raise DamagedModelError(
            f"{where} needs {tables / 1e9:,.1f} GB of tables beside its weights; "
            "its number of positions is too large"
        )


@contextmanager
def _limited(most: int) -> Iterator[None]:
    """Break off building in this thread at more than so many parameters, or ten times the modules.

    The hooks are those of torch for all modules.
    """
    mine, counts = threading.get_ident(), {"parameters": 0, "modules": 0}

    def count(kind: str, limit: int) -> Any:
        def hook(*_: object) -> None:
            if threading.get_ident() == mine:
                counts[kind] += 1
                if counts[kind] > limit:
                    raise _TooManyError

        return hook

    with ExitStack() as stack:
        for register, hook in (
            (hooks.register_module_parameter_registration_hook, count("parameters", most)),
            (hooks.register_module_module_registration_hook, count("modules", 10 * most)),
        ):
            stack.callback(register(hook).remove)
        yield


def _shown(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "a single number"
