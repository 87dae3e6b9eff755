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

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.discovery import Block, find_blocks, hidden_of, probe_inputs
from headwise.errors import UnsupportedModelError
from headwise.patching import (
    ATTENTION_NAME,
    Handler,
    attend,
    forward_replaced,
    handling,
    no_projection,
)

_PROBES = 5

Inputs = Mapping[str, Tensor]
"""``input_ids`` and whatever else the model takes per token, each [batch, n]."""


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
        self._blocks: list[Block] = []
        self._exit = ExitStack()

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

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
            output = attend(module, *arguments)
            if torch.is_grad_enabled() and not output.requires_grad:
                output.requires_grad_()
            calls.append((*arguments, output))
            return output

        entries: list[tuple[Tensor, tuple[Any, ...], dict[str, Any]]] = []
        results: list[Tensor] = []

        def before(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            entries.append((arguments[0], arguments[1:], options))

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            results.append(hidden_of(output))

        with ExitStack() as stack:
            for module in {block.module for block in self._blocks}:
                hook = module.register_forward_pre_hook(before, with_kwargs=True)
                stack.callback(hook.remove)
                stack.callback(module.register_forward_hook(after).remove)
            stack.enter_context(handling(handler))
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
        skipped: dict[nn.Module, Any] = {}
        handler: Handler = attend
        if replaced is not None:
            skipped = {linear: no_projection(linear) for linear in block.projections}
            handler = lambda *_: replaced  # noqa: E731
        elif first_only:
            handler = self._first_row_handler(block, hidden)
        if first_only:
            hidden = hidden[:, :1]
        with handling(handler), forward_replaced(skipped):
            return hidden_of(block.module(hidden, *args, **kwargs))

    @staticmethod
    def _first_row_handler(block: Block, hidden: Tensor) -> Handler:
        """Attention of the first query over all rows of the block's input.

        The layer itself is given only its first row; key and value of that row, which it
        computes too, are left aside. With one query, the projections of all rows are not needed:
        q (W h_j) = (q W) h_j, and the mean of W h_j is W times the mean of h_j. The key's bias
        adds the same to all scores, so it drops out of the softmax.
        """

        def handler(
            _: nn.Module, query: Tensor, __: Tensor, ___: Tensor, mask: Any, scale: float
        ) -> Tensor:
            assert block.key is not None
            assert block.value is not None
            heads, width = query.shape[1], query.shape[3]
            key_weight = block.key.weight.view(heads, width, -1)
            value_weight = block.value.weight.view(heads, width, -1)
            query = query.squeeze(2).transpose(0, 1) * scale  # [H, R, d]
            scores = (query @ key_weight).transpose(0, 1) @ hidden.transpose(1, 2)  # [R, H, n]
            if mask is not None:
                scores = scores.masked_fill(~mask[:, :, 0], float("-inf"))
            mean = (scores.softmax(-1) @ hidden).transpose(0, 1)  # [H, R, D]
            output = (mean @ value_weight.transpose(1, 2)).transpose(0, 1)
            if block.value.bias is not None:
                output = output + block.value.bias.view(heads, width)
            return output[:, None]

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
        with forward_replaced(blocks):
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
        # Another seed if single tokens have broken embeddings; those are for their examples.
        for seed in range(_PROBES):
            probe = probe_inputs(model, seed)
            with torch.no_grad():
                native = model(**probe).logits
            if native.isfinite().all():
                break
        configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
        for config in configs.values():
            stack.callback(setattr, config, "_attn_implementation", config._attn_implementation)
            config._attn_implementation = ATTENTION_NAME
        with torch.no_grad():
            self._blocks = find_blocks(model, probe)
            last = self._blocks[-1]
            self.first_token_only = last.key is not None and last.value is not None
            tape = self.record(probe)
            self.sites = self._describe(tape)
            self._verify(tape, native)

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
        if not native.isfinite().all():
            self.first_token_only = False
            return  # The weights are broken; every example will fail with that reason.
        # Half precision differs in the fourth digit between two kernels alone.
        tolerance = {torch.float64: 1e-9, torch.float32: 1e-3}.get(native.dtype, 0.1)
        tolerance *= max(1.0, float(native.abs().max()))
        if float((tape.logits - native).abs().max()) > tolerance:
            raise UnsupportedModelError("its attention is not softmax(QK')V over padding alone")
        expected = [self._halved(tape, site) for site in range(len(self.sites))]
        for attempt in (self.first_token_only, False):
            self.first_token_only = attempt
            if all(
                float((self._replayed_half(tape, site) - logits).abs().max()) <= tolerance
                for site, logits in enumerate(expected)
            ):
                return
        raise UnsupportedModelError("running it from one of its layers gives another result")

    def _replayed_half(self, tape: Tape, site: int) -> Tensor:
        """Logits of a replay with O of one site halved; NaN if it cannot be run."""
        output = tape.output[site]
        half = output[:, : self.rows_needed(site, output.shape[1])] / 2
        rows = torch.arange(len(tape.logits), device=output.device)
        try:
            return self.logits(tape, site, rows, half)
        except (RuntimeError, IndexError):
            # A head that reads other rows than the first does not find them.
            return torch.full_like(tape.logits, float("nan"))

    def _halved(self, tape: Tape, site: int) -> Tensor:
        """Logits of the whole model with O of one site halved."""
        count = 0

        def handler(*arguments: Any) -> Tensor:
            nonlocal count
            output = attend(*arguments)
            count += 1
            return output / 2 if count - 1 == site else output

        with handling(handler):
            logits: Tensor = self.model(**tape.inputs).logits
        return logits


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
