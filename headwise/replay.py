"""Running a model from one attention module onwards, with that module's output replaced.

A *site* is one attention module. Scaling its attention probabilities A by a scales what its
output projection receives, O = A V, by a (V does not change on the path), so F(a) needs only
a * O and the part of the model behind the site. ``Replay`` finds the sites of a model, records
one ordinary forward pass (``Tape``), and then evaluates the rest of the model from any site for
any batch of replaced outputs.

Nothing here knows an architecture by name. The sites are the modules that call transformers'
attention interface; the *blocks* are the layers that contain them, found as children of a
ModuleList. A model is accepted only if a numerical check on random token ids passes (see
``_verify``), so an unsupported one is refused and never computed wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import bidirectional_mask_function

from headwise.errors import UnsupportedModelError

_NAME = "headwise"

Inputs = Mapping[str, Tensor]
"""``input_ids`` and whatever else the model takes per token, each [batch, n]."""

_Handler = Callable[..., Tensor]
_handler: ContextVar[_Handler] = ContextVar("headwise_attention")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One attention module of a model.

    index: position in the model's order of evaluation, from 0
    layer: index of the layer it belongs to, from 0
    kind: ``encoder`` for the self-attention of an encoder
    heads: number of attention heads
    name: qualified module name
    """

    index: int
    layer: int
    kind: str
    heads: int
    name: str


@dataclass(kw_only=True)
class _Block:
    """A layer with its attention module and what discovery learnt about it."""

    module: nn.Module
    attention: nn.Module
    returns_tuple: bool = False
    projections: list[nn.Linear] = field(default_factory=list)
    key: nn.Linear | None = None
    value: nn.Linear | None = None


@dataclass(kw_only=True)
class Tape:
    """One recorded forward pass over a batch.

    logits [B, C]; per site: hidden, the input of its block [B, n, D]; query, key, value
    [B, H, n, d]; output O [B, n, H, d]; mask, True where a key is real, broadcastable to
    [B, H, n, n], or None; extras, the other arguments of the block.
    """

    logits: Tensor
    inputs: Inputs
    hidden: list[Tensor]
    query: list[Tensor]
    key: list[Tensor]
    value: list[Tensor]
    output: list[Tensor]
    mask: list[Tensor | None]
    scaling: list[float]
    extras: list[tuple[tuple[Any, ...], dict[str, Any]]]
    last_hidden: Tensor

    def attention(self, site: int) -> Tensor:
        """Attention probabilities of a site, [B, H, n, n]."""
        scores = self.query[site] @ self.key[site].transpose(-1, -2) * self.scaling[site]
        mask = self.mask[site]
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1)


def _attention_function(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return _handler.get()(module, query, key, value, attention_mask, scale), None


def _mask_function(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    mask_function: Callable[..., Any] | None = None,
    **_: object,
) -> Tensor | None:
    """Boolean padding mask [batch, 1, 1, keys], or None if nothing is padded."""
    if mask_function is not bidirectional_mask_function:
        raise UnsupportedModelError("its attention is causal, windowed or otherwise restricted")
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask.bool()[:, None, None, :]


AttentionInterface.register(_NAME, _attention_function)
AttentionMaskInterface.register(_NAME, _mask_function)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Fused attention; the result is O, [B, n, H, d]."""
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale
    )
    return output.transpose(1, 2)


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


@contextmanager
def _forward_replaced(
    replacements: Mapping[nn.Module, Callable[..., Any]],
) -> Iterator[None]:
    """Replace the forward of single module instances, restoring what was there."""
    missing = object()
    before = {module: module.__dict__.get("forward", missing) for module in replacements}
    try:
        for module, function in replacements.items():
            module.__dict__["forward"] = function
        yield
    finally:
        for module, original in before.items():
            if original is missing:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = original


def _no_projection(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    """A stand-in for a projection whose result is not used: right shape, no work, no memory."""
    features = module.out_features

    def forward(hidden: Tensor) -> Tensor:
        return hidden.new_zeros(()).expand(*hidden.shape[:-1], features)

    return forward


def _hidden_of(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise UnsupportedModelError("its layers do not return a tensor")
    return hidden


class Replay:
    """A model prepared for replaying; use as a context manager.

    Inside the context the model is in eval mode, its parameters need no gradients and its
    attention goes through this module; on leaving, also by an exception, all is as before.

    sites: the model's sites in order of evaluation
    first_token_only: the classifier reads only the first token, so that behind the last site,
        and in the last layer, only the first row is computed

    Raises UnsupportedModelError on entering if the model cannot be replayed exactly.
    """

    sites: tuple[Site, ...]
    first_token_only: bool

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._blocks: list[_Block] = []
        self._exit = ExitStack()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    def __enter__(self) -> Replay:
        with ExitStack() as stack:
            try:
                self._discover(stack)
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

    # ------------------------------------------------------------------ running

    def record(self, inputs: Inputs) -> Tape:
        """Run the model once; autograd, where enabled, starts at the first site's output O."""
        calls: list[tuple[Any, ...]] = []

        def handler(module: nn.Module, *arguments: Any) -> Tensor:
            output = _attend(module, *arguments)
            if torch.is_grad_enabled() and not output.requires_grad:
                output.requires_grad_()
            calls.append((*arguments, output))
            return output

        entries: list[tuple[Tensor, tuple[Any, ...], dict[str, Any]]] = []
        results: list[Tensor] = []

        def before(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            entries.append((arguments[0], arguments[1:], options))

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            results.append(_hidden_of(output))

        with ExitStack() as stack:
            for module in {block.module for block in self._blocks}:
                hook = module.register_forward_pre_hook(before, with_kwargs=True)
                stack.callback(hook.remove)
                stack.callback(module.register_forward_hook(after).remove)
            stack.enter_context(_handling(handler))
            logits = self.model(**inputs).logits
        query, key, value, mask, scaling, output = map(list, zip(*calls, strict=True))
        return Tape(
            logits=logits,
            inputs=inputs,
            hidden=[entry[0].detach() for entry in entries],
            query=[tensor.detach() for tensor in query],
            key=[tensor.detach() for tensor in key],
            value=[tensor.detach() for tensor in value],
            output=output,
            mask=mask,
            scaling=scaling,
            extras=[(entry[1], entry[2]) for entry in entries],
            last_hidden=results[-1].detach(),
        )

    def rows_needed(self, site: int, n: int) -> int:
        """Number of query rows of a site that can influence the logits."""
        return 1 if self.first_token_only and site == len(self.sites) - 1 else n

    def logits(self, tape: Tape, site: int, rows: Tensor, output: Tensor) -> Tensor:
        """Logits [R, C] when O of a site is replaced.

        rows: [R], for each row the example of the tape that it belongs to
        output: [R, rows_needed, H, d], the replacement of O
        """
        needed = self.rows_needed(site, tape.hidden[site].shape[1])
        hidden = tape.hidden[site][:, :needed].index_select(0, rows)
        cache: dict[int, Any] = {}
        for index in range(site, len(self._blocks)):
            args, kwargs = _select(tape.extras[index], rows, len(tape.logits), cache)
            replaced = output if index == site else None
            hidden = self._run_block(index, hidden, replaced, args, kwargs)
        return self._head(hidden, tape, rows)

    def _run_block(
        self,
        index: int,
        hidden: Tensor,
        replaced: Tensor | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        block = self._blocks[index]
        first_only = self.first_token_only and index == len(self._blocks) - 1
        if replaced is not None:
            skipped = {linear: _no_projection(linear) for linear in block.projections}
            handler: _Handler = lambda *_: replaced  # noqa: E731
        elif first_only:
            skipped = {}
            handler = self._first_row_handler(block, hidden)
        else:
            skipped = {}
            handler = _attend
        if first_only:
            hidden = hidden[:, :1]
        with _handling(handler), _forward_replaced(skipped):
            return _hidden_of(block.module(hidden, *args, **kwargs))

    @staticmethod
    def _first_row_handler(block: _Block, hidden: Tensor) -> _Handler:
        """Attention of the first query over the keys and values of all rows.

        The layer itself is given only its first row; keys and values of that row, which it
        computes too, are left aside.
        """

        def handler(
            module: nn.Module, query: Tensor, _: Tensor, __: Tensor, mask: Any, scale: float
        ) -> Tensor:
            assert block.key is not None
            assert block.value is not None
            shape = (*hidden.shape[:2], query.shape[1], query.shape[3])
            key = block.key(hidden).view(shape).transpose(1, 2)
            value = block.value(hidden).view(shape).transpose(1, 2)
            return _attend(module, query, key, value, mask, scale)

        return handler

    def _head(self, hidden: Tensor, tape: Tape, rows: Tensor) -> Tensor:
        """What the model does behind its last block, run by the model's own code."""
        inputs = {name: tensor.index_select(0, rows) for name, tensor in tape.inputs.items()}
        if self.first_token_only:
            inputs = {name: tensor[:, :1] for name, tensor in inputs.items()}
        blocks = {
            block.module: (lambda *_, pack=block.returns_tuple, **__: (hidden,) if pack else hidden)
            for block in self._blocks
        }
        with _forward_replaced(blocks):
            logits: Tensor = self.model(**inputs).logits
        return logits

    # ---------------------------------------------------------------- discovery

    def _discover(self, stack: ExitStack) -> None:
        model = self.model
        if getattr(model.config, "is_encoder_decoder", False):
            raise UnsupportedModelError("encoder-decoder models are not supported yet")
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()
        for parameter in model.parameters():
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        probe = _probe_inputs(model)
        with torch.no_grad():
            native = model(**probe).logits
        configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
        for config in configs.values():
            stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
            config._attn_implementation = _NAME
        with torch.no_grad():
            self._find_blocks(probe)
            tape = self.record(probe)
            self.sites = self._describe(tape)
            self._verify(tape, native)

    def _find_blocks(self, probe: Inputs) -> None:
        """Run once and watch which layers call the attention interface, and how."""
        running: list[_Block] = []
        order: list[_Block] = []
        chained: list[tuple[Tensor, Tensor]] = []
        linears: list[tuple[nn.Linear, Tensor, Tensor]] = []

        def handler(module: nn.Module, query: Tensor, key: Tensor, *rest: Any) -> Tensor:
            if not running:
                raise UnsupportedModelError("attention is called outside a list of layers")
            block = running[-1]
            if block.attention is not block.module:
                raise UnsupportedModelError("a layer has more than one attention module")
            block.attention = module
            inside = set(module.modules())
            block.projections = [linear for linear, _, _ in linears if linear in inside]
            if query.shape[:2] == key.shape[:2]:
                given = chained_inputs[-1]
                block.key = _projection_of(key, given, linears)
                block.value = _projection_of(rest[0], given, linears)
            order.append(block)
            return _attend(module, query, key, *rest)

        chained_inputs: list[Tensor] = []

        def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            if not arguments or not isinstance(arguments[0], Tensor):
                raise UnsupportedModelError("its layers take no hidden state as first argument")
            running.append(_Block(module=module, attention=module))
            chained_inputs.append(arguments[0])
            linears.clear()

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            block = running.pop()
            block.returns_tuple = isinstance(output, tuple)
            if block.attention is not block.module:
                chained.append((chained_inputs.pop(), _hidden_of(output)))

        def linear_done(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            linears.append((module, arguments[0], output))  # type: ignore[arg-type]

        with ExitStack() as stack:
            for module in self.model.modules():
                if isinstance(module, nn.Linear):
                    stack.callback(module.register_forward_hook(linear_done).remove)
                if isinstance(module, nn.ModuleList):
                    for layer in module:
                        stack.callback(layer.register_forward_pre_hook(before).remove)
                        stack.callback(layer.register_forward_hook(after).remove)
            stack.enter_context(_handling(handler))
            self.model(**probe)
        if not order:
            raise UnsupportedModelError("its attention does not use transformers' interface")
        for (_, result), (given, _) in pairwise(chained):
            if not torch.equal(result, given):
                raise UnsupportedModelError("its layers do not form a chain")
        self._blocks = order
        last = order[-1]
        self.first_token_only = last.key is not None and last.value is not None

    def _describe(self, tape: Tape) -> tuple[Site, ...]:
        names = {module: name for name, module in self.model.named_modules()}
        return tuple(
            Site(
                index=index,
                layer=index,
                kind="encoder",
                heads=tape.query[index].shape[1],
                name=names[block.attention],
            )
            for index, block in enumerate(self._blocks)
        )

    def _verify(self, tape: Tape, native: Tensor) -> None:
        """Compare replays with the model itself, on random token ids, one example padded.

        1. The logits through our attention function equal those of the model's own.
        2. For every site, replacing O by O / 2 in a replay gives what the complete model gives
           when the same is done in its ordinary forward pass.
        The second is tried with first_token_only first, and without it if that disagrees.
        """
        tolerance = {torch.float64: 1e-9, torch.float32: 1e-3}.get(tape.logits.dtype, 0.1)
        if not torch.isfinite(native).all():
            return  # Broken weights are reported per example; there is nothing to compare.
        scale = max(1.0, float(native.abs().max()))
        if float((tape.logits - native).abs().max()) > tolerance * scale:
            raise UnsupportedModelError("its attention is not softmax(QK')V over padding alone")
        expected = [self._halved(tape, site) for site in range(len(self.sites))]
        rows = torch.arange(len(native), device=native.device)
        for attempt in (self.first_token_only, False):
            self.first_token_only = attempt
            worst = 0.0
            for site, logits in enumerate(expected):
                output = tape.output[site]
                half = output[:, : self.rows_needed(site, output.shape[1])] / 2
                try:
                    got = self.logits(tape, site, rows, half)
                except (RuntimeError, IndexError):
                    worst = float("inf")
                    break
                worst = max(worst, float((got - logits).abs().max()))
            if worst <= tolerance * scale:
                return
        raise UnsupportedModelError("running it from one of its layers gives another result")

    def _halved(self, tape: Tape, site: int) -> Tensor:
        """Logits of the whole model with O of one site halved."""
        count = 0

        def handler(*arguments: Any) -> Tensor:
            nonlocal count
            output = _attend(*arguments)
            count += 1
            return output / 2 if count - 1 == site else output

        with _handling(handler):
            logits: Tensor = self.model(**tape.inputs).logits
        return logits


def _projection_of(
    tensor: Tensor, hidden: Tensor, linears: Sequence[tuple[nn.Linear, Tensor, Tensor]]
) -> nn.Linear | None:
    """The layer whose output on the block's input, split into heads, is this key or value."""
    for linear, given, output in linears:
        if given.shape == hidden.shape and torch.equal(given, hidden):
            heads, width = tensor.shape[1], tensor.shape[3]
            if output.shape[-1] == heads * width and torch.equal(
                output.view(*hidden.shape[:2], heads, width).transpose(1, 2), tensor
            ):
                return linear
    return None


def _select(
    extras: tuple[tuple[Any, ...], dict[str, Any]], rows: Tensor, batch: int, cache: dict[int, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The other arguments of a block, for these rows of the batch."""

    def pick(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != batch:
            return value
        if id(value) not in cache:
            cache[id(value)] = value.index_select(0, rows)
        return cache[id(value)]

    args, kwargs = extras
    return tuple(pick(value) for value in args), {k: pick(v) for k, v in kwargs.items()}


def _probe_inputs(model: PreTrainedModel) -> dict[str, Tensor]:
    """Two random texts of seven tokens, the second padded by two."""
    vocabulary = model.get_input_embeddings().num_embeddings
    pad = model.config.pad_token_id or 0
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocabulary, (2, 7), generator=generator)
    ids[ids == pad] = (pad + 1) % vocabulary
    mask = torch.ones_like(ids)
    ids[1, 5:] = pad
    mask[1, 5:] = 0
    return {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
