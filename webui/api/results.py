"""Results in the JSON API: heads, rankings and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Blueprint

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.results import Example, Site
from db.results import rankings
from webui.api.models.results import (
    CompletenessAnswer,
    EdgeAnswer,
    ExampleAnswer,
    ExamplePage,
    ExampleQuery,
    ExampleRowAnswer,
    HeadAnswer,
    HeadPage,
    RankAnswer,
    RankingPage,
    RankingQuery,
    ScoreAnswer,
)
from webui.context import database
from webui.contract import cursors
from webui.contract.models import PageQuery
from webui.contract.operations import operation

TAG = "Results"
LABELLED = ("gold", "predicted", "target")

blueprint = Blueprint("result_api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs/<int(max=2147483647):job_id>/heads")
@operation(TAG, HeadPage)
def list_heads(job_id: int, query: PageQuery) -> HeadPage:
    """List the importance of heads, by rank; ranks change while it is provisional."""
    job_reads.get_job(database(), job_id)
    importance = results.get_importance(database(), job_id)
    heads = sorted(importance.heads, key=lambda head: head.rank)
    shown, following = cursors.slice_rows(heads, query.cursor, query.limit)
    return HeadPage(
        heads=[HeadAnswer(**row) for row in placed(job_id, map(vars, shown))],
        total=len(heads),
        provisional=importance.provisional,
        next=following,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/rankings")
@operation(TAG, RankingPage)
def list_rankings(job_id: int, query: RankingQuery) -> RankingPage:
    """List the rankings that the job offers, by source and rank."""
    job_reads.get_job(database(), job_id)
    found, provisional = rankings.get_rankings(database(), job_id)
    heads = [one for one in found if query.source in ("", one.source)]
    heads.sort(key=lambda one: (one.source, one.rank))
    shown, following = cursors.slice_rows(heads, query.cursor, query.limit)
    return RankingPage(
        rankings=[RankAnswer(**row) for row in placed(job_id, map(vars, shown))],
        total=len(heads),
        provisional=provisional,
        next=following,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples")
@operation(TAG, ExamplePage)
def list_examples(job_id: int, query: ExampleQuery) -> ExamplePage:
    """List examples in order."""
    job = job_reads.get_job(database(), job_id)
    after = cursors.number(query.cursor)
    found = results.list_examples(
        database(),
        job_id,
        results.ExampleFilter(
            only=query.only or "", predicted=query.predicted, gold=query.gold, contains=query.q
        ),
        after=next((one for one in (after, query.after) if one is not None), -1),
        limit=query.limit + 1,
    )
    shown, following = cursors.cut(found, query.limit, lambda one: (one.example,))
    return ExamplePage(
        examples=[ExampleRowAnswer(**_example(one, job.labels)) for one in shown],
        next=following,
        next_after=shown[-1].example if following else None,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>")
@operation(TAG, ExampleAnswer)
def get_example(job_id: int, example_no: int) -> ExampleAnswer:
    """Get an example with its tokens, head scores, strongest pairs and completeness."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    found = results.get_example(opened, job_id, example_no)
    scores = results.example_scores(opened, job_id, example_no)
    edges = results.example_edges(opened, job_id, example_no)
    sites = results.example_sites(opened, job_id, example_no)
    return ExampleAnswer(
        **_example(found, job.labels),
        tokens=found.tokens,
        word_index=found.words and found.words.word_index,
        token_spans=found.words and found.words.spans,
        token_attribution=found.token_attribution,
        heads=[ScoreAnswer(**row) for row in placed(job_id, scores)],
        edges=[EdgeAnswer(**row) for row in placed(job_id, edges)],
        completeness=[CompletenessAnswer(**row) for row in placed(job_id, sites)],
    )


def placed(job_id: int, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return rows with the place of their site in the model."""
    sites = {site.site: site for site in results.list_sites(database(), job_id)}
    return [{**row, **_place(sites[row["site"]])} for row in rows if row["site"] in sites]


def _place(site: Site) -> Mapping[str, Any]:
    return {
        "layer": site.layer,
        "attention_type": site.attention_type,
        "kind": site.attention_type,  # its earlier name
    }


def _example(example: Example, labels: tuple[str, ...]) -> dict[str, Any]:
    """The fields of an example in lists."""

    def name(index: int | None) -> str | None:
        return labels[index] if index is not None and 0 <= index < len(labels) else None

    left_out = ("tokens", "words", "token_attribution")
    values = {key: value for key, value in vars(example).items() if key not in left_out}
    return {**values, **{f"{key}_label": name(values[key]) for key in LABELLED}}
