"""The methods that give a value to each cell of attention: the paper's integral, and four others.

With A the attention probabilities of a site, O = A V the input of its output projection, and F the
target scalar:

integrated-gradients: Attr_h(A) = A_h * integral over a in [0, 1] of dF(a A)/dA_h, equation 2 of
    Hao et al. (AAAI 2021). Since dF/dA_h = (dF/dO_h) V_h', only the integral of dF/dO is computed.
attention-gradient: A_h * dF/dA_h at a = 1, one point. F(1) is kept; F(0) is not defined.
attention: A_h.
random: uniform in [0, 1), from a generator seeded with the seed and the index of the example.
embedding-gradient: one value per token: the attention of the head to it, averaged over queries,
    times the gradient of minus the target's logit with respect to the embedding of the token,
    averaged over the width of the embedding and over six points; see ``EmbeddingGradient``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headwise.attribution import integrate
from headwise.attribution.collect import MethodValues
from headwise.attribution.evaluator import Evaluator
from headwise.attribution.integrate import Search
from headwise.options import Options
from headwise.precision import autocast
from headwise.replay import Recording
from headwise.replay.hooks import Attention, Handler, attend, handling

_EMBEDDING_STEPS = 5

Method = Callable[[int, Tensor], MethodValues]
"""(site, its attention probabilities [B, H, n, n]) -> MethodValues"""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of examples, as methods see it.

    ends: per site dF/dO at a = 1, [B, n, H, d], if ``needs_ends``
    examples: indices of the examples in the call
    lengths: number of tokens of each example, int [B]
    """

    options: Options
    evaluator: Evaluator
    ends: Sequence[Tensor]
    examples: Sequence[int]
    lengths: Tensor

    def per_example(self, value: int | bool) -> Tensor:
        """Return a tensor with the same value for every example, [B]."""
        return torch.full((len(self.examples),), value, device=self.lengths.device)


def needs_ends(options: Options) -> bool:
    """Tell whether the method uses the gradient at a = 1, from one backward pass for all sites."""
    if options.method == "integrated-gradients":
        return options.rule is None
    return options.method == "attention-gradient"


def method_for(batch: Batch) -> Method:
    """Return the method that the options name, for one batch."""
    builders: dict[str, Callable[[Batch], Method]] = {
        "integrated-gradients": _integrated_gradients,
        "attention-gradient": _attention_gradient,
        "attention": _attention,
        "random": _random,
        "embedding-gradient": _embedding_gradient,
    }
    return builders[batch.options.method](batch)


def attribution_matrix(
    recording: Recording, site: int, attention: Tensor, gradient: Tensor
) -> Tensor:
    """Return A_h * (G_h V_h'), [B, H, n, n].

    gradient: G, which is dF/dO or its integral, [B, m, H, d]
    """
    by_cell = gradient.transpose(1, 2) @ recording.value[site].transpose(-1, -2)
    if gradient.shape[1] == attention.shape[2]:
        return by_cell.mul_(attention)
    return recording.placed(site, by_cell.mul_(_relevant(recording, site, attention)))


def _relevant(recording: Recording, site: int, attention: Tensor) -> Tensor:
    """The query rows of attention probabilities that matter, [B, H, m, n]."""
    return recording.relevant(site, attention.transpose(1, 2)).transpose(1, 2)


def _integrated_gradients(batch: Batch) -> Method:
    options, evaluator = batch.options, batch.evaluator
    recording = evaluator.recording
    sites = range(len(recording.output))

    def searching(site: int) -> Search:
        if options.rule is not None:
            return integrate.fixed(evaluator, site, options.rule)
        end = recording.relevant(site, batch.ends[site])
        norm = _norm(recording, site)
        return integrate.search(evaluator, site, end, norm, options.rtol, options.max_points)

    integrals = integrate.run(evaluator, [searching(site) for site in sites])

    def cells(site: int, attention: Tensor) -> MethodValues:
        integral = integrals[site]
        return MethodValues(
            values=attribution_matrix(recording, site, attention, integral.gradient),
            f0=integral.f0,
            f1=integral.f1,
            points=integral.points,
            converged=integral.converged,
        )

    return cells


def _norm(recording: Recording, site: int) -> integrate.Norm:
    """The L2 norm of Attr over heads and cells, for ``integrate.search``."""
    weights = _relevant(recording, site, recording.attention(site))

    def norm(gradients: Tensor, examples: Tensor) -> Tensor:
        value = recording.value[site].index_select(0, examples)
        by_cell = gradients.transpose(1, 2) @ value.transpose(-1, -2)
        by_cell *= weights.index_select(0, examples)
        size: Tensor = torch.linalg.vector_norm(by_cell, dim=(1, 2, 3))
        return size

    return norm


def _attention_gradient(batch: Batch) -> Method:
    evaluator = batch.evaluator
    full, _ = evaluator.function.value(evaluator.recording.logits.detach(), evaluator.target)

    def cells(site: int, attention: Tensor) -> MethodValues:
        return MethodValues(
            values=attribution_matrix(evaluator.recording, site, attention, batch.ends[site]),
            f1=full,
            points=batch.per_example(1),
            converged=batch.per_example(True),
        )

    return cells


def _attention(batch: Batch) -> Method:
    def cells(_: int, attention: Tensor) -> MethodValues:
        return MethodValues(
            values=attention,
            points=batch.per_example(0),
            converged=batch.per_example(True),
        )

    return cells


def _random(batch: Batch) -> Method:
    # Sites come in order, so each generator continues from site to site.
    generators = [np.random.default_rng((batch.options.seed, e)) for e in batch.examples]

    def cells(_: int, attention: Tensor) -> MethodValues:
        values = torch.zeros(attention.shape)
        for row, (generator, n) in enumerate(zip(generators, batch.lengths.tolist(), strict=True)):
            drawn = generator.random((attention.shape[1], n, n), dtype=np.float32)
            values[row, :, :n, :n] = torch.from_numpy(drawn)
        return MethodValues(
            values=values.to(attention.device),
            points=batch.per_example(0),
            converged=batch.per_example(True),
        )

    return cells


def _embedding_gradient(batch: Batch) -> Method:
    source = EmbeddingGradient(batch)

    def cells(site: int, attention: Tensor) -> MethodValues:
        mean = source.mean_attention(site, attention)
        return MethodValues(
            values=torch.diag_embed(mean * source.gradient(mean)),
            points=batch.per_example(_EMBEDDING_STEPS + 1),
            converged=batch.per_example(True),
            token_weight=mean,
            defined=source.includes(site),
        )

    return cells


class EmbeddingGradient:
    """The mean gradient of the embeddings over six points, for method ``embedding-gradient``.

    The mean attention row a of a head, [n], is scaled to 0/5 a, 1/5 a, ..., 5/5 a, and each is
    given to the model as its attention mask. The loss is minus the logit of the target; its
    gradient with respect to the embeddings is averaged over their width, then over the six points.
    Of an encoder-decoder only the encoder takes part: the classification head reads its first
    token.

    Transformers interprets a mask as true or false: any value but zero makes a token visible, and
    if none is visible, all are, equally. So the points 1/5 to 5/5 have the same gradient, the point
    0/5 that of uniform attention, and heads whose rows are zero in the same places share both:
    usually two passes suffice for all sites and points.

    If the model reads the embeddings only through a LayerNorm, as in BERT, BART and GPT-2, the mean
    of the gradient over the width is zero, since a LayerNorm removes a constant that is added to an
    embedding; the values are then rounding errors. The method is for comparison.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._encoder_only = bool(batch.evaluator.replay.model.config.is_encoder_decoder)
        n = batch.evaluator.recording.inputs["input_ids"].shape[1]
        self._real = torch.arange(n, device=batch.lengths.device) < batch.lengths[:, None]
        self._by_pattern: dict[bytes, Tensor] = {}
        self._uniform = self._embeddings_gradient(self._real, self._uniform_attention)

    def includes(self, site: int) -> bool:
        """Tell whether the method runs a site."""
        return (
            not self._encoder_only
            or self._batch.evaluator.replay.sites[site].attention_type == "encoder"
        )

    def mean_attention(self, site: int, attention: Tensor) -> Tensor:
        """Return the mean attention to each token over the queries of a site, [B, H, n]."""
        rows = attention * self._real[:, None, :, None]
        return rows.sum(2) / self._batch.lengths[:, None, None]

    def gradient(self, mean_attention: Tensor) -> Tensor:
        """Return the mean gradient for every head, [B, H, n]."""
        # Padding is hidden anyway; a token that a head never sees is treated like padding.
        seen = mean_attention > 0
        patterns, head_pattern = torch.unique(seen, dim=1, return_inverse=True)
        found = [self._masked(patterns[:, index]) for index in range(patterns.shape[1])]
        masked = torch.stack(found, 1)[:, head_pattern]
        steps = _EMBEDDING_STEPS
        return (self._uniform[:, None] + steps * masked) / (steps + 1)

    def _masked(self, seen: Tensor) -> Tensor:
        key = seen.cpu().numpy().tobytes()
        if key not in self._by_pattern:
            self._by_pattern[key] = self._embeddings_gradient(seen, attend)
        return self._by_pattern[key]

    def _embeddings_gradient(self, mask: Tensor, handler: Handler) -> Tensor:
        """Gradient of the loss with respect to the embeddings, averaged over width, [B, n]."""
        evaluator = self._batch.evaluator
        model = evaluator.replay.model
        source = model.get_encoder() if self._encoder_only else model
        embeddings: list[Tensor] = []

        def leaf(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            embeddings.append(output.detach().requires_grad_())
            return embeddings[-1]

        hook = source.get_input_embeddings().register_forward_hook(leaf)
        inputs = {**evaluator.recording.inputs, "attention_mask": mask.long()}
        try:
            with (
                torch.enable_grad(),
                handling(handler),
                autocast(self._batch.options.precision, evaluator.replay.device),
            ):
                output = source(**inputs)
                if self._encoder_only:
                    logits = model.classification_head(output.last_hidden_state[:, 0])
                else:
                    logits = output.logits
        finally:
            hook.remove()
        loss = -logits.gather(1, evaluator.target[:, None]).sum()
        (gradient,) = torch.autograd.grad(loss, embeddings)
        evaluator.tick()
        return gradient.mean(2)

    def _uniform_attention(self, call: Attention) -> Tensor:
        """Uniform attention that keeps the gradients of the scores, as under a huge mask."""
        call = call.repeated()
        scores = call.query @ call.key.transpose(-1, -2) * call.scale
        scores = scores - scores.detach()
        scores = scores.masked_fill(~self._real[:, None, None, :], float("-inf"))
        return (scores.softmax(-1) @ call.value).transpose(1, 2)
