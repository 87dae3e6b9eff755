"""Results in the JSON API: heads, rankings and examples."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.results import Example, Site
from db.results import rankings
from webui.api.requests import MOST_ROWS
from webui.context import choice, database, integer, optional_integer, words

blueprint = Blueprint("result_api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs/<int(max=2147483647):job_id>/heads")
def list_heads(job_id: int) -> Response:
    """Head importance; provisional while shards are missing."""
    job_reads.get_job(database(), job_id)
    sites = {site.site: site for site in results.list_sites(database(), job_id)}
    importance = results.get_importance(database(), job_id)
    rows = [{**asdict(h), **_place(sites[h.site])} for h in importance.heads if h.site in sites]
    rows.sort(key=lambda row: row["rank"])
    return jsonify({"heads": rows, "provisional": importance.provisional})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/rankings")
def list_rankings(job_id: int) -> Response:
    """The rankings by every source that the job offers; provisional while shards are missing."""
    job_reads.get_job(database(), job_id)
    sites = {site.site: site for site in results.list_sites(database(), job_id)}
    heads, provisional = rankings.get_rankings(database(), job_id)
    rows = [{**asdict(head), **_place(sites[head.site])} for head in heads]
    rows.sort(key=lambda row: (row["source"], row["rank"]))
    return jsonify({"rankings": rows, "provisional": provisional})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples")
def list_examples(job_id: int) -> Response:
    """Examples in order; `after` is the last one of the page before."""
    job = job_reads.get_job(database(), job_id)
    limit = integer("limit", 50, low=1, high=MOST_ROWS)
    found = results.list_examples(
        database(),
        job_id,
        results.ExampleFilter(
            only=choice("only", results.ONLY),
            predicted=optional_integer("predicted"),
            gold=optional_integer("gold"),
            contains=words("q"),
        ),
        after=integer("after", -1, low=-1),
        limit=limit + 1,
    )
    rows = [_example_json(example, job.labels) for example in found[:limit]]
    last = found[limit - 1].example if len(found) > limit else None
    return jsonify({"examples": rows, "next_after": last})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>")
def get_example(job_id: int, example_no: int) -> Response:
    """One example with its tokens, head scores, strongest pairs and completeness."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    found = results.get_example(opened, job_id, example_no)
    sites = {site.site: site for site in results.list_sites(opened, job_id)}

    def placed(rows: list[Any]) -> list[dict[str, Any]]:
        return [{**row, **_place(sites[row["site"]])} for row in rows if row["site"] in sites]

    body = {
        **_example_json(found, job.labels),
        "tokens": found.tokens,
        "word_index": found.words and found.words.word_index,
        "token_spans": found.words and found.words.spans,
        "token_attribution": found.token_attribution,
        "heads": placed(results.example_scores(opened, job_id, example_no)),
        "edges": placed(results.example_edges(opened, job_id, example_no)),
        "completeness": placed(results.example_sites(opened, job_id, example_no)),
    }
    return jsonify(body)


def _place(site: Site) -> dict[str, Any]:
    return {
        "layer": site.layer,
        "attention_type": site.attention_type,
        "kind": site.attention_type,  # its earlier name
    }


def _example_json(example: Example, labels: tuple[str, ...]) -> dict[str, Any]:
    def name(index: int | None) -> str | None:
        return labels[index] if index is not None and 0 <= index < len(labels) else None

    values = asdict(example)
    del values["tokens"], values["token_attribution"]
    indices = {key: values[key] for key in ("gold", "predicted", "target")}
    return {**values, **{f"{key}_label": name(index) for key, index in indices.items()}}
