"""Collecting the values of a method into a result: maxima, sums, largest cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headwise.attribution.cells import BatchCells
from headwise.encoding import Encoded
from headwise.errors import first_line
from headwise.models.labels import Outputs
from headwise.options import Options
from headwise.replay import Site
from headwise.result import Attribution, Floats, HeadPlace, Ints
from headwise.trees import Interactions


@dataclass(frozen=True, kw_only=True)
class SiteResult:
    """The results for one site of a batch, on the CPU; ``Attribution`` describes the fields.

    ``summed`` alone is where it was computed: of these matrices few cells are kept.

    scores, totals, attention_max, attention_mean: [B, H]
    positions: [B, H, 2]
    by_key: [B, n]
    edge_value, edge_attention: [B, k]
    edge_cell: head, query and key of each edge, [B, k, 3]
    summed: the matrix summed over heads, [B, n, n]
    matrix: [B, H, n, n] or None
    by_head_and_key: [B, H, n] or None
    attention, attribution: of the heads that are kept whole, [B, K, n, n]
    f0, f1, total, points, converged: [B]
    finite: [B], False where a pass gave a number that is not finite
    """

    scores: Tensor
    totals: Tensor
    positions: Tensor
    by_key: Tensor
    attention_max: Tensor
    attention_mean: Tensor
    edge_value: Tensor
    edge_attention: Tensor
    edge_cell: Tensor
    summed: Tensor
    matrix: Tensor | None
    by_head_and_key: Tensor | None
    attention: Tensor
    attribution: Tensor
    f0: Tensor
    f1: Tensor
    total: Tensor
    points: Tensor
    converged: Tensor
    finite: Tensor


@dataclass(frozen=True, kw_only=True)
class MethodValues:
    """The values that a method gives to the cells of one site, for a batch of B examples.

    values: [B, H, n, n]
    points: gradient evaluations, int [B]
    converged: bool [B]
    f0, f1: F(0) and F(1), float64 [B], or None where the method does not define them
    token_weight: [B, H, n], for a method with one value per token: values are on the diagonal, no
        other cell counts, and the attention of an edge is the weight of its token
    defined: the method applies to this site; if not, its numbers are NaN
    """

    values: Tensor
    points: Tensor
    converged: Tensor
    f0: Tensor | None = None
    f1: Tensor | None = None
    token_weight: Tensor | None = None
    defined: bool = True


def summarize(
    cells: MethodValues,
    attention: Tensor,
    lengths: Tensor,
    options: Options,
    whole: Sequence[int] = (),
) -> SiteResult:
    """Reduce the values of one site to maxima, sums and largest cells.

    attention: [B, H, n, n]
    lengths: number of tokens without padding, int [B]
    options: what to keep
    whole: heads of the site whose matrices are kept
    """
    batch, heads, n, _ = attention.shape
    attr, shown = cells.values, attention
    if attr.dtype not in (torch.float32, torch.float64):
        attr = attr.float()  # sums need more precision, NumPy knows no bfloat16
    attention = attention.to(attr.dtype)
    real = torch.arange(n, device=lengths.device) < lengths[:, None]
    tokens = (real[:, :, None] & real[:, None, :])[:, None]
    counted = tokens
    if cells.token_weight is not None:
        counted = tokens & torch.eye(n, dtype=torch.bool, device=lengths.device)
        shown = cells.token_weight[:, :, None].expand_as(attr)
    attr = attr.masked_fill(~counted, 0)
    kept = torch.tensor(whole, dtype=torch.long, device=attr.device)
    ranked = attr.masked_fill(~counted, -math.inf).flatten(1)
    scores, best = ranked.view(batch, heads, n * n).max(-1)
    values, cell = ranked.topk(min(options.edges, ranked.shape[1]), dim=1)
    row_max = attention.masked_fill(~tokens, 0).amax(-1)
    totals = attr.sum((2, 3), dtype=torch.float64)
    undefined = totals.new_full((batch,), math.nan)
    finite = totals.isfinite().all(1)
    for end in (cells.f0, cells.f1):
        finite &= True if end is None else end.isfinite()
    result = SiteResult(
        scores=scores.cpu(),
        totals=totals.cpu(),
        positions=torch.stack([best // n, best % n], -1).cpu(),
        by_key=attr.sum((1, 2)).float().cpu(),
        attention_max=row_max.amax(-1).cpu(),
        attention_mean=(row_max.sum(-1) / lengths[:, None]).cpu(),
        edge_value=values.cpu(),
        edge_attention=shown.flatten(1).gather(1, cell).float().cpu(),
        edge_cell=torch.stack([cell // (n * n), cell // n % n, cell % n], -1).cpu(),
        summed=attr.sum(1).float(),
        matrix=attr.float().cpu() if options.matrices else None,
        by_head_and_key=attr.sum(2).float().cpu() if options.head_token_attribution else None,
        attention=attention.index_select(1, kept).float().cpu(),
        attribution=attr.index_select(1, kept).float().cpu(),
        f0=(undefined if cells.f0 is None else cells.f0).cpu(),
        f1=(undefined if cells.f1 is None else cells.f1).cpu(),
        total=totals.sum(1).cpu(),
        points=cells.points.cpu(),
        converged=cells.converged.cpu(),
        finite=finite.cpu(),
    )
    return result if cells.defined else _undefined(result)


_ATTENTION = ("attention_max", "attention_mean", "attention")


def _undefined(result: SiteResult) -> SiteResult:
    """Replace everything but the attention by NaN, and drop the edges."""
    nothing = {
        field.name: torch.full_like(value, math.nan)
        for field in dataclasses.fields(result)
        if isinstance(value := getattr(result, field.name), Tensor) and value.is_floating_point()
    }
    attention = {name: getattr(result, name) for name in _ATTENTION}
    edges = {name: nothing[name][:, :0] for name in ("edge_value", "edge_attention")}
    return dataclasses.replace(
        result,
        **{**nothing, **attention, **edges},
        edge_cell=result.edge_cell[:, :0],
        positions=torch.full_like(result.positions, -1),
        points=torch.zeros_like(result.points),
    )


def heads_of(places: Sequence[HeadPlace], site: int) -> list[int]:
    """Return the heads of one site among places."""
    return [head for index, head in places if index == site]


class Collector:
    """Fills the arrays of an Attribution batch by batch."""

    def __init__(
        self,
        method: str,
        sites: tuple[Site, ...],
        labels: tuple[str, ...],
        encoded: Sequence[Encoded],
        k: int,
        whole: Sequence[HeadPlace] = (),
    ) -> None:
        e, s, h = len(encoded), len(sites), max(site.heads for site in sites)
        self._method, self._sites, self._labels = method, sites, labels
        self._encoded, self._k, self._whole = encoded, k, tuple(whole)

        def empty(*shape: int, dtype: type = np.float32) -> np.ndarray:
            fill = math.nan if np.issubdtype(dtype, np.floating) else -1
            return np.full(shape, fill, dtype=dtype)

        self._arrays = {
            **{
                name: empty(e, s, h)
                for name in ("scores", "totals", "attention_max", "attention_mean")
            },
            "positions": empty(e, s, h, 2, dtype=np.int32),
            **{name: empty(e, s, dtype=np.float64) for name in ("f0", "f1", "residual")},
            "points": np.zeros((e, s), dtype=np.int32),
            "converged": np.zeros((e, s), dtype=np.bool_),
            **{
                name: empty(e, k, dtype=np.int32)
                for name in ("edge_site", "edge_head", "edge_query", "edge_key")
            },
            **{name: empty(e, k) for name in ("edge_value", "edge_attention")},
            "predicted": empty(e, dtype=np.int32),
            "target": empty(e, dtype=np.int32),
            "probabilities": empty(e, len(labels)),
            "truncated": np.array([example.truncated for example in encoded], dtype=np.bool_),
        }
        self._errors: list[str | None] = [None] * e
        self._matrices: list[Floats | None] = [None] * e
        self._by_head: list[Floats | None] = [None] * e
        self._attention: list[Floats | None] = [None] * e
        self._attribution: list[Floats | None] = [None] * e
        self._tokens: list[Floats | None] = [None] * e
        self._interactions: list[Interactions | None] = [None] * e

    def add(
        self,
        batch: Sequence[int],
        results: Sequence[SiteResult],
        cells: BatchCells,
        probabilities: Tensor,
        predicted: Tensor,
        target: Tensor,
    ) -> None:
        """Add one batch.

        batch: indices of its examples; results: per site; cells: of all sites
        probabilities: [B, C]; predicted, target: int [B]
        """
        numbers, known = np.asarray(batch), probabilities.isfinite().all(1).cpu()
        finite = torch.stack([known, *(result.finite for result in results)])
        self._arrays["points"][numbers] = torch.stack([r.points for r in results], 1).numpy()
        self._arrays["target"][numbers[known.numpy()]] = target.cpu()[known].numpy()
        good = finite.all(0).nonzero()[:, 0]
        examples = numbers[good.numpy()]
        self._arrays["predicted"][examples] = predicted.cpu()[good].numpy()
        self._arrays["probabilities"][examples] = probabilities.cpu()[good].numpy()
        self._add_columns(examples, good, results)
        self._add_edges(examples, good, results)
        kept = cells.interactions()
        for row, example in enumerate(batch):
            if finite[:, row].all():
                self._add_example(example, row, results)
                self._interactions[example] = kept[row]
            else:
                first = int(finite[:, row].int().argmin())
                part = f"gradient at {self._sites[first - 1].name}" if first else "model's output"
                self._errors[example] = f"the {part} is not a finite number"

    def fail(self, example: int, error: Exception) -> None:
        """Add an example that the model raises an error for."""
        self._errors[example] = f"the model does not take this text: {first_line(error)}"

    def _add_columns(self, examples: Ints, good: Tensor, results: Sequence[SiteResult]) -> None:
        """Add the arrays by site or head; ``good`` are the rows of the examples in the batch."""
        arrays = self._arrays
        for site, result in enumerate(results):
            heads = result.scores.shape[1]
            for name in ("scores", "totals", "attention_max", "attention_mean", "positions"):
                arrays[name][examples, site, :heads] = getattr(result, name)[good].numpy()
            change = result.f1 - result.f0
            for name, values in (
                ("f0", result.f0),
                ("f1", result.f1),
                ("residual", result.total - change),
                ("converged", result.converged),
            ):
                arrays[name][examples, site] = values[good].numpy()

    def _add_edges(self, examples: Ints, good: Tensor, results: Sequence[SiteResult]) -> None:
        values = torch.cat([r.edge_value for r in results], 1)[good].double()
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self._k]
        cells = torch.cat([r.edge_cell for r in results], 1)[good].unbind(-1)
        sites = torch.cat([torch.full((r.edge_value.shape[1],), s) for s, r in enumerate(results)])
        columns = {
            "site": sites.expand_as(values),
            **dict(zip(("head", "query", "key"), cells, strict=True)),
            "value": values,
            "attention": torch.cat([r.edge_attention for r in results], 1)[good].float(),
        }
        # Padding cells are -inf; they are among the largest only if a text has fewer than k cells.
        row, place = values.gather(1, order).isfinite().nonzero().numpy().T
        for name, column in columns.items():
            found = column.gather(1, order).numpy()
            self._arrays[f"edge_{name}"][examples[row], place] = found[row, place]

    def _add_example(self, example: int, row: int, results: Sequence[SiteResult]) -> None:
        """Add what depends on the length of the text: tokens, matrices."""
        n = len(self._encoded[example].ids)
        self._tokens[example] = torch.stack([r.by_key[row, :n] for r in results]).numpy()
        self._matrices[example] = self._stacked([r.matrix for r in results], row, n)
        self._by_head[example] = self._stacked([r.by_head_and_key for r in results], row, n)
        self._attention[example] = self._of_heads([r.attention for r in results], row, n)
        self._attribution[example] = self._of_heads([r.attribution for r in results], row, n)

    def _of_heads(self, parts: Sequence[Tensor], row: int, n: int) -> Floats:
        """Stack the matrices of the chosen heads of one example in their order, [K, n, n]."""
        stacked = np.empty((len(self._whole), n, n), dtype=np.float32)
        for place, (site, head) in enumerate(self._whole):
            within = heads_of(self._whole, site).index(head)
            stacked[place] = parts[site][row, within, :n, :n].numpy()
        return stacked

    def _stacked(self, parts: Sequence[Tensor | None], row: int, n: int) -> Floats | None:
        """Stack the values by head of one example, [S, H, n ...]; None if they are not kept."""
        kept = [part[row] for part in parts if part is not None]
        if not kept:
            return None
        heads = max(site.heads for site in self._sites)
        whole = np.full((len(kept), heads, *(n,) * (kept[0].dim() - 1)), math.nan, dtype=np.float32)
        for site, part in enumerate(kept):
            real = (slice(None), *(slice(n),) * (part.dim() - 1))
            whole[site, : len(part)] = part[real].numpy()
        return whole

    def result(self, options: Options, outputs: Outputs) -> Attribution:
        """Return the complete result."""
        return Attribution(
            method=self._method,
            sites=self._sites,
            labels=self._labels,
            outputs=outputs,
            tokens=tuple(example.tokens for example in self._encoded),
            word_index=tuple(example.word_index for example in self._encoded),
            word_texts=tuple(example.word_texts for example in self._encoded),
            token_spans=tuple(example.token_spans for example in self._encoded),
            errors=tuple(self._errors),
            token_attribution=tuple(self._tokens),
            interactions=tuple(self._interactions),
            matrices=tuple(self._matrices) if options.matrices else None,
            head_token_attribution=(
                tuple(self._by_head) if options.head_token_attribution else None
            ),
            heads=self._whole,
            attention=tuple(self._attention) if self._whole else None,
            attribution=tuple(self._attribution) if self._whole else None,
            **self._arrays,
        )
