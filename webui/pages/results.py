"""The pages of one head and of one example, and a job's tables as CSV."""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, Response, render_template, request

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example, ExampleFilter, Site
from db.results import export as exports
from db.results.words import from_columns
from jobs.errors import NotFoundError
from jobs.formatting import head_name
from jobs.head_tokens import STRONGEST
from webui.context import attachment, choice, database, integer, optional_integer
from webui.heads import site_name, url_values
from webui.pages import trees, words

BINS = 40

blueprint = Blueprint("results", __name__)


@blueprint.get(
    "/jobs/<int(max=2147483647):job_id>/heads/<int(max=32767):layer>/<int(max=32767):head>"
)
def head(job_id: int, layer: int, head: int) -> str:
    """One head: its scores, the examples where it is strongest, its frequent token pairs."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    sites = results.list_sites(opened, job_id)
    types = [site.attention_type for site in sites] or ["encoder"]
    usual = "encoder" if "encoder" in types else types[0]
    earlier = choice("kind", set(types), usual)  # in addresses of version 0.1
    chosen = choice("attention_type", set(types), earlier)
    site = next((s for s in sites if s.layer == layer and s.attention_type == chosen), None)
    if site is None or head >= site.heads:
        raise NotFoundError(
            f"Job {job_id} has no results for head {head_name(layer, head, chosen)}."
        )
    importance = results.get_importance(opened, job_id)
    own = next((h for h in importance.heads if (h.site, h.head) == (site.site, head)), None)
    scores = results.head_scores(opened, job_id, site.site, head, job.examples)
    place = {"site": site.site, "head": head, "examples": job.examples}
    strongest, searched = results.strongest_examples(opened, job_id, **place)
    return render_template(
        "head.html",
        job=job,
        site=site,
        head=head,
        name=head_name(layer, head, chosen),
        own=own,
        heads_total=len(importance.heads),
        provisional=importance.provisional,
        histogram=histogram(scores),
        sampled=len(scores),
        strongest=[_strong(row) for row in strongest],
        searched=searched,
        pairs=results.frequent_pairs(opened, job_id, **place),
        previous=_neighbour(sites, site, head, -1),
        next=_neighbour(sites, site, head, +1),
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>")
def example(job_id: int, example_no: int) -> str:
    """One example: its words coloured, its pairs, its heads."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    found = results.get_example(opened, job_id, example_no)
    sites = results.list_sites(opened, job_id)
    scores = results.example_scores(opened, job_id, example_no)
    edges = results.example_edges(opened, job_id, example_no)
    site_no = optional_integer("site")
    read = _read_words(found)
    pieces = words.read_pieces(found.tokens or (), found.texts, found.words)
    edge_rows = [_edge(edge, sites, read, pieces) for edge in edges]
    chosen = _chosen(sites, scores, edge_rows, pieces)
    return render_template(
        "example.html",
        job=job,
        example=found,
        sites=sites,
        site_no=site_no,
        edges=edge_rows,
        arcs={
            "edges": [
                {k: e[k] for k in ("rank", "q", "k", "value", "name")}
                for e in edge_rows
                if e["q"] is not None and e["k"] is not None
            ]
        },
        grid=_grid(sites, scores, pieces),
        completeness=[
            (sites[row["site"]], row)
            for row in results.example_sites(opened, job_id, example_no)
            if row["site"] < len(sites)
        ],
        chosen=chosen,
        selection={name: request.args[name] for name in ("at", "site") if name in request.args},
        head_words=chosen and _head_words(job_id, example_no, read, chosen["row"]),
        tree=trees.section(job_id, found, sites),
        alike=results.alike_examples(opened, job_id, example_no, job.examples),
        sentence=_sentence(found, sites, read, site_no),
        **_neighbours(job, example_no),
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/export/<name>.csv")
def export(job_id: int, name: str) -> Response:
    """All rows of a published view that belong to the job, streamed as CSV."""
    opened = database()
    job_reads.get_job(opened, job_id)
    view = exports.EXPORTED.get(name)
    if view is None:
        known = ", ".join(exports.EXPORTED)
        raise NotFoundError(f"There is no export {name!r}. Known: {known}.")
    rows = exports.csv_parts(view, exports.chunks(opened, view, job_id))
    return attachment(rows, "text/csv", f"headwise-job-{job_id}-{name}.csv")


def histogram(scores: list[float]) -> dict[str, Any]:
    """Counts in BINS equal bins: lower edges, width and counts."""
    if not scores:
        return {"edges": [], "width": 0.0, "counts": []}
    low, high = min(scores), max(scores)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / width))] += 1
    return {"edges": [low + i * width for i in range(BINS)], "width": width, "counts": counts}


def _read_words(found: Example) -> list[words.Word]:
    """The words of an example; positions where texts were not kept."""
    length = len(found.token_attribution[0]) if found.token_attribution else 0
    tokens = found.tokens or tuple(f"#{i}" for i in range(length))
    return words.read_words(tokens, found.texts, found.words)


def _sentence(
    found: Example, sites: list[Site], read: list[words.Word], site_no: int | None
) -> words.Sentence:
    """The words with their values at one site, or on average over all."""
    attribution = found.token_attribution or []
    if site_no is not None and site_no >= len(sites):
        raise NotFoundError(f"The model has {len(sites)} sites: there is no site {site_no}.")
    if attribution and site_no is not None:
        return words.by_word(read, attribution[site_no])
    mean = [sum(column) / len(attribution) for column in zip(*attribution, strict=True)]
    return words.by_word(read, mean)


def _head_words(
    job_id: int, example_no: int, read: list[words.Word], row: Any
) -> dict[str, Any] | None:
    """The words with the attribution that one head reads of them; None if it is not stored."""
    place = {"example": example_no, "site": row["site"], "head": row["head"]}
    values = results.example_head_tokens(database(), job_id, **place)
    if values is None:
        return None
    known = [0.0 if math.isnan(value) else value for value in values]
    return {
        "sentence": words.by_word(read, known),
        "partial": any(map(math.isnan, values)),
        "strongest": STRONGEST,
    }


def _edge(
    edge: Any, sites: list[Site], read: list[words.Word], pieces: list[words.Piece]
) -> dict[str, Any]:
    site = sites[edge["site"]] if edge["site"] < len(sites) else None
    query, key = words.word_at(read, edge["query"]), words.word_at(read, edge["key"])
    return {
        "rank": edge["rank"],
        "name": head_name(site.layer, edge["head"], site.attention_type) if site else "?",
        "url_values": url_values(site, edge["head"]) if site else None,
        "place": (edge["site"], edge["head"]),
        "q": query,
        "k": key,
        "query": words.piece_at(pieces, edge["query"]),
        "key": words.piece_at(pieces, edge["key"]),
        "value": edge["attribution"],
        "attention": edge["attention"],
    }


def _grid(sites: list[Site], scores: list[Any], pieces: list[words.Piece]) -> dict[str, Any]:
    """Scores of the example as rows of cells, one row per site."""
    by_place = {(row["site"], row["head"]): row for row in scores}
    top = max((abs(row["score"]) for row in scores), default=0.0)
    lines = []
    for site in sites:
        cells = []
        for head in range(site.heads):
            row = by_place.get((site.site, head))
            ends = (
                [words.piece_at(pieces, row[end]).text for end in ("query", "key")] if row else []
            )
            pair = " reads ".join(ends)
            cells.append({"head": head, "row": row, "pair": pair})
        lines.append({"site": site, "name": site_name(site), "cells": cells})
    return {"lines": lines, "top": top, "width": max((site.heads for site in sites), default=0)}


def _chosen(
    sites: list[Site],
    scores: list[Any],
    edges: list[dict[str, Any]],
    pieces: list[words.Piece],
) -> dict[str, Any] | None:
    """The head chosen in the grid (?at=site.head), by default the example's strongest."""
    if not scores:
        return None
    best = max(scores, key=lambda row: row["score"])
    at = request.args.get("at", "")
    site_text, _, head_text = at.partition(".")
    source = {"site": site_text, "head": head_text}
    site_no = integer("site", best["site"], source=source)
    head = integer("head", best["head"], source=source)
    row = next((r for r in scores if (r["site"], r["head"]) == (site_no, head)), None)
    if row is None or site_no >= len(sites):
        raise NotFoundError(f"This example has no head {at!r} (given as site.head).")
    site = sites[site_no]
    return {
        "row": row,
        "name": head_name(site.layer, head, site.attention_type),
        "url_values": url_values(site, head),
        "query": words.piece_at(pieces, row["query"]),
        "key": words.piece_at(pieces, row["key"]),
        "edges": [edge for edge in edges if edge["place"] == (site_no, head)],
        "rank": 1 + sum(other["score"] > row["score"] for other in scores),
        "total": len(scores),
    }


def _neighbours(job: Job, example_no: int) -> dict[str, Any]:
    opened = database()
    before = results.list_examples(opened, job.id, before=example_no, limit=1)
    after = results.list_examples(opened, job.id, after=example_no, limit=1)
    only_wrong = ExampleFilter(only="wrong")
    wrong = results.list_examples(opened, job.id, only_wrong, after=example_no, limit=1)
    return {
        "previous": before[0].example if before else None,
        "next": after[0].example if after else None,
        "next_wrong": wrong[0].example if wrong else None,
    }


def _neighbour(sites: list[Site], site: Site, head: int, step: int) -> dict[str, Any] | None:
    """The head before or after this one, over the layers' borders."""
    places = [(s, h) for s in sites for h in range(s.heads)]
    at = places.index((site, head)) + step
    if not 0 <= at < len(places):
        return None
    other, number = places[at]
    name = head_name(other.layer, number, other.attention_type)
    return {"name": name, "url_values": url_values(other, number)}


def _strong(row: Any) -> tuple[Any, words.Piece, words.Piece]:
    """An example of a head, and the tokens of the head's largest cell."""
    texts = [text for name in ("text_a", "text_b") if (text := row[name]) is not None]
    known = from_columns(row["word_index"], row["token_spans"]) if texts else None
    pieces = words.read_pieces(results.parse_list(row["tokens"]), texts, known)
    return row, words.piece_at(pieces, row["query"]), words.piece_at(pieces, row["key"])
