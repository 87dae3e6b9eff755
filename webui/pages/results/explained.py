"""One example as pages show it: pairs and heads; `scheduler.figures.examples` has its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request

from db.reads.jobs import Job
from db.reads.results import Site
from headwise.naming import head_name
from headwise.sentences import Piece, Word, piece_at, word_at
from jobs.errors import NotFoundError
from webui.context import integer
from webui.heads import site_name, url_values

OWN_NAMES = {"text": "first text", "second": "second text"}
"""The columns of a pair that was typed, in words."""


def text_names(job: Job) -> list[str]:
    """The names of the texts of a pair: its columns; empty for single texts."""
    columns = job.spec.get("data", {}).get("text_columns", ())  # old jobs may have none
    return [OWN_NAMES.get(name, name) for name in columns] if len(columns) > 1 else []


def _text_of(read: Sequence[Word], index: int | None, names: Sequence[str]) -> str:
    """The name of the text that a word belongs to; empty for separators and single texts."""
    if index is None or read[index].special or read[index].segment >= len(names):
        return ""
    return names[read[index].segment]


def pair_of(
    edge: Any,
    sites: list[Site],
    read: list[Word],
    pieces: list[Piece],
    names: Sequence[str],
) -> dict[str, Any]:
    """A strong cell of the example; names: those of the texts, see `text_names`."""
    site = sites[edge["site"]] if edge["site"] < len(sites) else None
    query, key = word_at(read, edge["query"]), word_at(read, edge["key"])
    return {
        "rank": edge["rank"],
        "name": head_name(site.layer, edge["head"], site.attention_type) if site else "?",
        "url_values": url_values(site, edge["head"]) if site else None,
        "place": (edge["site"], edge["head"]),
        "query": piece_at(pieces, edge["query"]),
        "key": piece_at(pieces, edge["key"]),
        "query_text": _text_of(read, query, names),
        "key_text": _text_of(read, key, names),
        "value": edge["attribution"],
        "attention": edge["attention"],
    }


def grid_of(sites: list[Site], scores: list[Any], pieces: list[Piece]) -> dict[str, Any]:
    """Scores of the example as rows of cells, one row per site."""
    by_place = {(row["site"], row["head"]): row for row in scores}
    top = max((abs(row["score"]) for row in scores), default=0.0)
    lines = []
    for site in sites:
        cells = []
        for head in range(site.heads):
            row = by_place.get((site.site, head))
            ends = [piece_at(pieces, row[end]).text for end in ("query", "key")] if row else []
            pair = " reads ".join(ends)
            cells.append({"head": head, "row": row, "pair": pair})
        lines.append({"site": site, "name": site_name(site), "cells": cells})
    return {"lines": lines, "top": top, "width": max((site.heads for site in sites), default=0)}


def chosen_head(
    sites: list[Site],
    scores: list[Any],
    edges: list[dict[str, Any]],
    pieces: list[Piece],
    read: Sequence[Word] = (),
    names: Sequence[str] = (),
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
        "query": piece_at(pieces, row["query"]),
        "key": piece_at(pieces, row["key"]),
        **{
            f"{end}_text": _text_of(read, word_at(read, row[end]), names)
            for end in ("query", "key")
        },
        "edges": [edge for edge in edges if edge["place"] == (site_no, head)],
        "rank": 1 + sum(other["score"] > row["score"] for other in scores),
        "total": len(scores),
    }
