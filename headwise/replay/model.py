"""Running a model from one attention module onwards, with that module's output replaced.

A *site* is one attention module. Scaling its attention probabilities A by a scales the input of
its output projection, O = A V, by a (V does not change along the path), so F(a) needs only a * O
and the part of the model after the site. ``Replay`` finds the sites of a model, records one
ordinary forward pass (``Recording``), and then evaluates the rest of the model from any sites for
any batch of replaced outputs.

No architecture is known here by name. The sites are the modules that call the attention interface
of transformers; the *layers* are the children of a ModuleList that contain sites. A replay runs the
model's own forward method with the forward methods of the layers replaced: a layer before the first
site returns its recorded output, a later one runs. Everything between the layers, such as the way
from an encoder to a decoder, is the model's own code. A model is accepted only if a numerical check
on random token ids passes (``selfcheck``); an unsupported one is refused, never computed wrongly.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.errors import FAILURES, UnsupportedModelError, first_line
from headwise.models.evaluating import uncompiled
from headwise.replay.discovery import ModelStructure, discover, uses_interface
from headwise.replay.forward import Shortcuts, partial_logits, record
from headwise.replay.hooks import ATTENTION_NAME, intercepting
from headwise.replay.probes import native_logits
from headwise.replay.recording import Inputs, Recording, RowGroup, Site
from headwise.replay.selfcheck import choose_shortcuts


class Replay:
    """A model prepared for replaying; use as a context manager.

    Inside the context the model is in eval mode, its parameters need no gradients and its
    attention goes through this package; leaving it, also by an exception, restores everything.

    sites: the sites of the model in order of evaluation

    Raises UnsupportedModelError on entering if the model cannot be replayed exactly.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.structure: ModelStructure
        self.shortcuts = Shortcuts()
        self._exit = ExitStack()

    @property
    def sites(self) -> tuple[Site, ...]:
        return self.structure.sites

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                self._prepare(stack)
            except UnsupportedModelError as error:
                kind = self.model.config.model_type
                raise UnsupportedModelError(
                    f"model type {kind!r} ({type(self.model).__name__}) is not supported: {error}"
                ) from error
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()

    def twin(self) -> Self:
        """Return the same for another thread: its own modules and buffers, shared parameters.

        Buffers may change with a pass, as the frequencies of positions do. It is valid as long as
        the context of this one.
        """
        twin = copy.copy(self)
        shared = {id(tensor): tensor for tensor in self.model.parameters()}
        twin.model, twin.structure = copy.deepcopy((self.model, self.structure), shared)
        return twin

    def record(self, inputs: Inputs) -> Recording:
        """Run the model once; autograd, where enabled, starts at O of the first site."""
        self.forget_lengths()
        return record(self.model, self.structure, self.shortcuts, inputs)

    def forget_lengths(self) -> None:
        """Let no result depend on the texts before: frequencies of positions start anew.

        Dynamic ones of transformers are kept from the longest text so far.
        """
        forget_lengths(self.model)

    def logits(self, recording: Recording, groups: Sequence[RowGroup]) -> Tensor:
        """Return the logits [R, C] of all rows of the groups, with O of their sites replaced.

        groups: in ascending order of site, each site at most once
        """
        return partial_logits(self.model, self.structure, self.shortcuts, recording, groups)

    def _prepare(self, stack: ExitStack) -> None:
        model = self.model
        stack.enter_context(uncompiled())
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()
        for parameter in model.parameters():
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        for config in _configs(model):
            if getattr(config, "use_cache", None):
                stack.callback(setattr, config, "use_cache", config.use_cache)
                config.use_cache = False
        known = _known.get(model)
        if known is not None and known.fits(model):
            self._intercept(stack, known.written_out)
            self.structure, self.shortcuts = known.structure, known.shortcuts
            return
        probes, native = native_logits(model)
        with ExitStack() as trial:
            _set_attention(trial, model, ATTENTION_NAME)
            written_out = not uses_interface(model, probes[0])
        self._intercept(stack, written_out)
        try:
            self.structure = discover(model, probes)
            with torch.no_grad():
                self.shortcuts = choose_shortcuts(model, self.structure, probes[0], native)
        except FAILURES as error:
            raise UnsupportedModelError(f"it cannot be recorded: {first_line(error)}") from error
        # Broken weights hide the structure; it is looked for again once they are mended.
        if native.isfinite().all():
            _known[model] = _Known(
                modules=_parts(model),
                written_out=written_out,
                structure=self.structure,
                shortcuts=self.shortcuts,
            )

    def _intercept(self, stack: ExitStack, written_out: bool) -> None:
        _set_attention(stack, self.model, "eager" if written_out else ATTENTION_NAME)
        stack.enter_context(intercepting(written_out))


def forget_lengths(model: nn.Module) -> None:
    """Give modules whose frequencies follow the longest text so far those that they begin with."""
    end = "max_seq_len_cached"
    for module in model.modules():
        for name in [name for name in module.__dict__ if name.endswith(end)]:
            prefix = name.removesuffix(end)
            frequencies = getattr(module, f"{prefix}inv_freq", None)
            original = getattr(module, f"{prefix}original_inv_freq", None)
            if isinstance(frequencies, Tensor) and isinstance(original, Tensor):
                setattr(module, f"{prefix}inv_freq", original.to(frequencies.device).clone())
                setattr(module, name, module.original_max_seq_len)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """Properties found for a model, valid as long as it has the same modules.

    written_out: it computes attention without the interface of transformers
    """

    modules: list[nn.Module]
    written_out: bool
    structure: ModelStructure
    shortcuts: Shortcuts

    def fits(self, model: PreTrainedModel) -> bool:
        now = _parts(model)
        return len(now) == len(self.modules) and all(map(operator.is_, now, self.modules))


_known: WeakKeyDictionary[PreTrainedModel, _Known] = WeakKeyDictionary()


def _parts(model: PreTrainedModel) -> list[nn.Module]:
    """All modules except the model itself, which the values of ``_known`` must not keep alive."""
    return [module for module in model.modules() if module is not model]


def _set_attention(stack: ExitStack, model: nn.Module, name: str) -> None:
    for config in _configs(model):
        stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
        config._attn_implementation = name


def _configs(model: nn.Module) -> list[Any]:
    """The configurations of all modules and their sub-configurations, each once."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [module.config for module in model.modules() if hasattr(module, "config")]
    while waiting:
        config = waiting.pop()
        if id(config) in found or not hasattr(config, "_attn_implementation"):
            continue
        found[id(config)] = config
        waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(found.values())
