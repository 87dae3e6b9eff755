"""Running a model from one attention module onwards, with that module's output replaced.

A *site* is one attention module. Scaling its attention probabilities A by a scales what its
output projection receives, O = A V, by a (V does not change on the path), so F(a) needs only
a * O and the part of the model behind the site. ``Replay`` finds the sites of a model, records
one ordinary forward pass (``Tape``), and then evaluates the rest of the model from any sites for
any batch of replaced outputs.

Nothing here knows an architecture by name. The sites are the modules that call transformers'
attention interface; the *blocks* are the layers that contain them, the children of a ModuleList.
A replay runs the model's own forward with the forward of the blocks replaced: a block before the
first site gives its recorded output, a later one runs. What lies between the blocks, such as the
way from an encoder to a decoder, is the model's own code. A model is accepted only if a numerical
check on random token ids passes (``selfcheck``), so an unsupported one is refused and
never computed wrongly.
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

from headwise.errors import FAILURES, UnsupportedModelError
from headwise.replay.discovery import Plan, discover, uses_interface
from headwise.replay.forward import Features, Pass
from headwise.replay.hooks import ATTENTION_NAME, forward_replaced, intercepting, without_masks
from headwise.replay.linear import faster_linears
from headwise.replay.recording import Recorder
from headwise.replay.selfcheck import choose_features, native_logits
from headwise.replay.tape import Entry, Group, Inputs, Site, Tape


class Replay:
    """A model prepared for replaying; use as a context manager.

    Inside the context the model is in eval mode, its parameters need no gradients and its
    attention goes through this module; on leaving, also by an exception, all is as before.

    sites: the model's sites in order of evaluation

    Raises UnsupportedModelError on entering if the model cannot be replayed exactly.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.plan: Plan
        self.features = Features()
        self._exit = ExitStack()

    @property
    def sites(self) -> tuple[Site, ...]:
        return self.plan.sites

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def __enter__(self) -> Replay:
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
        """The same for another thread: modules of its own, with the same parameters and buffers.

        Good while the context of this one lasts.
        """
        tensors = [*self.model.parameters(), *self.model.buffers()]
        twin = copy.copy(self)
        shared = {id(tensor): tensor for tensor in tensors}
        twin.model, twin.plan = copy.deepcopy((self.model, self.plan), shared)
        return twin

    def record(self, inputs: Inputs) -> Tape:
        """Run the model once; autograd, where enabled, starts at the first site's output O."""
        blocks = self.plan.blocks
        last = len(blocks) if self.features.one_row else None
        recording = Recorder(self.plan.modules, self.plan.constants, last).run(self.model, inputs)
        if [call.module for call in recording.layers] != [block.module for block in blocks]:
            raise UnsupportedModelError("its layers depend on the input")
        n = inputs["input_ids"].shape[1]
        shapes = [(call.query.shape[2], call.key.shape[2]) for call in recording.calls]
        if shapes != [(n, n)] * len(self.plan.sites):
            raise UnsupportedModelError("its attention is not from all tokens to all tokens")
        entries = [
            Entry(
                given=[_detached(leaf) for leaf in call.given],
                output=[_detached(leaf) for leaf in call.output],
                output_spec=call.output_spec,
            )
            for call in recording.layers
        ]
        constants = {
            module: [([(x.shape, x.dtype) for x in leaves], spec) for leaves, spec in calls]
            for module, calls in recording.constants.items()
        }
        return Tape(
            logits=recording.logits,
            inputs=inputs,
            calls=recording.calls,
            output=recording.outputs,
            entries=entries,
            constants=constants,
            needed=recording.needed,
            last=blocks[-1].first,
        )

    def logits(self, tape: Tape, groups: Sequence[Group]) -> Tensor:
        """Logits [R, C] of all rows of the groups, in their order, with O of their sites replaced.

        groups: in ascending order of site, each site at most once
        """
        running = Pass(self.plan, self.features, tape, groups)
        inputs = {name: running.pick(tensor) for name, tensor in tape.inputs.items()}
        with forward_replaced(running.replacements()), without_masks():
            logits: Tensor = self.model(**inputs).logits
        return logits

    def _prepare(self, stack: ExitStack) -> None:
        model = self.model
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
            self.plan, self.features = known.plan, known.features
            return
        probes, native = native_logits(model)
        with ExitStack() as trial:
            _set_attention(trial, model, ATTENTION_NAME)
            written_out = not uses_interface(model, probes[0])
        self._intercept(stack, written_out)
        try:
            self.plan = discover(model, probes)
            with torch.no_grad():
                choose_features(self, probes[0], native)
        except FAILURES as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UnsupportedModelError(f"it cannot be recorded: {reason}") from error
        # What broken weights hide must be looked for again when they are mended.
        if native.isfinite().all():
            _known[model] = _Known(
                modules=_parts(model),
                written_out=written_out,
                plan=self.plan,
                features=self.features,
            )

    def _intercept(self, stack: ExitStack, written_out: bool) -> None:
        _set_attention(stack, self.model, "eager" if written_out else ATTENTION_NAME)
        stack.enter_context(intercepting(written_out))
        stack.enter_context(forward_replaced(faster_linears(self.model)))


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was found out about a model, good for as long as it has the same modules."""

    modules: list[nn.Module]
    written_out: bool
    plan: Plan
    features: Features

    def fits(self, model: PreTrainedModel) -> bool:
        now = _parts(model)
        return len(now) == len(self.modules) and all(map(operator.is_, now, self.modules))


_known: WeakKeyDictionary[PreTrainedModel, _Known] = WeakKeyDictionary()


def _parts(model: PreTrainedModel) -> list[nn.Module]:
    """All modules but the model itself, to which a value of ``_known`` must not refer."""
    return [module for module in model.modules() if module is not model]


def _set_attention(stack: ExitStack, model: nn.Module, name: str) -> None:
    for config in _configs(model):
        stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
        config._attn_implementation = name


def _configs(model: nn.Module) -> list[Any]:
    """The configurations of all modules, and those inside them, each once."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [module.config for module in model.modules() if hasattr(module, "config")]
    while waiting:
        config = waiting.pop()
        if id(config) in found or not hasattr(config, "_attn_implementation"):
            continue
        found[id(config)] = config
        waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(found.values())


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf
