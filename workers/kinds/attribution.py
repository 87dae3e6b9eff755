"""Attribution of a shard's examples: texts in, numbers out."""

from __future__ import annotations

from collections.abc import Callable

from db.results.commit import ShardInput
from headwise import Attribution, LoadedModel
from headwise.attribution.engine import begin_attribution
from headwise.encoding import Encoded, encode
from headwise.segmentation import Segmentation
from jobs.kinds.attribution import AttributionResult, AttributionSpec
from jobs.results import site_tokens
from jobs.results.base import ExampleResult
from jobs.results.head_matrices import HeadMatrix
from jobs.results.head_tokens import pack
from workers.block import Block, inputs, site_infos


def prepare(spec: AttributionSpec, loaded: LoadedModel, shard: ShardInput) -> list[Encoded]:
    """Tokenize the texts of a block."""
    return encode(loaded.model, loaded.tokenizer, inputs(spec, shard), spec.max_length)


def compute(block: Block[AttributionSpec]) -> Callable[[], AttributionResult]:
    """Attribute every example of a block."""
    spec = block.spec
    finish = begin_attribution(
        block.loaded.model,
        block.prepared(),
        target=spec.target,
        gold=block.gold,
        output=spec.output,
        integration=spec.integration,
        rtol=spec.rtol,
        max_points=spec.max_points,
        edges=spec.edges,
        matrices=False,
        head_token_attribution=True,
        heads=block.shard.planned or (),
        progress=lambda *_: block.progress(),
        partial=block.partial,
    )
    rows = block.rows
    return lambda: shard_result(finish()).picked(rows)


def shard_result(result: Attribution) -> AttributionResult:
    """Convert the engine's result to what the database stores."""
    return AttributionResult(
        sites=site_infos(result.sites),
        examples=tuple(_example(result, number) for number in range(len(result))),
        score=result.scores,
        total=result.totals,
        query=result.positions[..., 0],
        key=result.positions[..., 1],
        attention_max=result.attention_max,
        attention_mean=result.attention_mean,
        f0=result.f0,
        f1=result.f1,
        residual=result.residual,
        points=result.points,
        converged=result.converged,
        edge_site=result.edge_site,
        edge_head=result.edge_head,
        edge_query=result.edge_query,
        edge_key=result.edge_key,
        edge_value=result.edge_value,
        edge_attention=result.edge_attention,
        matrices=tuple(_matrices(result, number) for number in range(len(result)))
        if result.heads
        else (),
    )


def _matrices(result: Attribution, number: int) -> tuple[HeadMatrix, ...]:
    """The whole matrices of an example; none if it failed."""
    attention = result.attention and result.attention[number]
    attribution = result.attribution and result.attribution[number]
    if attention is None or attribution is None:
        return ()
    return tuple(
        HeadMatrix(site=site, head=head, attention=a, attribution=b)
        for (site, head), a, b in zip(result.heads, attention, attribution, strict=True)
    )


def _example(result: Attribution, number: int) -> ExampleResult:
    error = result.errors[number]
    failed = error is not None
    by_token, cells = result.token_attribution[number], result.interactions[number]
    spans = result.token_spans[number]
    by_head = (
        None if result.head_token_attribution is None else result.head_token_attribution[number]
    )
    return ExampleResult(
        predicted=None if failed else int(result.predicted[number]),
        target=None if failed else int(result.target[number]),
        probabilities=() if failed else tuple(map(float, result.probabilities[number])),
        tokens=result.tokens[number],
        words=Segmentation(word_index=result.word_index[number], spans=spans)
        if any(spans)
        else None,
        word_texts=result.word_texts[number],
        token_attribution=None if by_token is None else site_tokens.to_json(by_token),
        head_token_attribution=None if by_head is None else pack(by_head),
        interactions=None if cells is None else cells.to_json(),
        truncated=bool(result.truncated[number]),
        error=error,
    )
