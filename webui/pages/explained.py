"""One example as pages show it: words, pairs, heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flask import request

from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example, Site
from headwise.naming import head_name
from jobs.errors import NotFoundError
from jobs.head_tokens import STRONGEST
from webui.context import database, integer
from webui.heads import site_name, url_values
from webui.pages import words

OWN_NAMES = {"text": "first text", "second": "second text"}
"""The columns of a pair that was typed, in words."""


def text_names(job: Job) -> list[str]:
    """The names of the texts of a pair: its columns; empty for single texts."""
    columns = job.spec.get("data", {}).get("text_columns", ())  # old jobs may have none
    return [OWN_NAMES.get(name, name) for name in columns] if len(columns) > 1 else []


def _text_of(read: Sequence[words.Word], index: int | None, names: Sequence[str]) -> str:
    """The name of the text that a word belongs to; empty for separators and single texts."""
    if index is None or read[index].special or read[index].segment >= len(names):
        return ""
    return names[read[index].segment]


def words_of(found: Example) -> list[words.Word]:
    """The words of an example; positions where texts were not kept."""
    length = len(found.token_attribution[0]) if found.token_attribution else 0
    tokens = found.tokens or tuple(f"#{i}" for i in range(length))
    return words.read_words(tokens, found.texts, found.words)


def sentence_of(
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


def head_words(
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


def pair_of(
    edge: Any,
    sites: list[Site],
    read: list[words.Word],
    pieces: list[words.Piece],
    names: Sequence[str],
) -> dict[str, Any]:
    """A strong cell of the example; names: those of the texts, see `text_names`."""
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
        "query_text": _text_of(read, query, names),
        "key_text": _text_of(read, key, names),
        "value": edge["attribution"],
        "attention": edge["attention"],
    }


def grid_of(sites: list[Site], scores: list[Any], pieces: list[words.Piece]) -> dict[str, Any]:
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


def chosen_head(
    sites: list[Site],
    scores: list[Any],
    edges: list[dict[str, Any]],
    pieces: list[words.Piece],
    read: Sequence[words.Word] = (),
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
        "query": words.piece_at(pieces, row["query"]),
        "key": words.piece_at(pieces, row["key"]),
        **{
            f"{end}_text": _text_of(read, words.word_at(read, row[end]), names)
            for end in ("query", "key")
        },
        "edges": [edge for edge in edges if edge["place"] == (site_no, head)],
        "rank": 1 + sum(other["score"] > row["score"] for other in scores),
        "total": len(scores),
    }
