"""Results of made-up attributions, as rows of a database."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from db import schema
from db.database import Database
from db.results.words import to_columns
from headwise.segmentation import Segmentation, Span
from jobs.kinds.head_importance import HeadSums, head_importance
from jobs.results.head_tokens import pack


def word_pieces(texts: Sequence[str]) -> tuple[list[str], Segmentation]:
    """Something like a WordPiece tokenization, and its words."""
    tokens: list[str] = ["[CLS]"]
    spans: list[Span | None] = [None]
    numbers = [0]
    for segment, text in enumerate(texts):
        for word in re.finditer(r"\w+|[^\w\s]", text):
            start, end = word.span()
            cuts = [start, end] if end - start < 10 else [start, start + 6, end]
            for low, high in pairwise(cuts):
                tokens.append(("##" if low > start else "") + text[low:high].lower())
                spans.append(Span(segment, low, high))
                numbers.append(numbers[-1] + (low == start))
        tokens.append("[SEP]")
        spans.append(None)
        numbers.append(numbers[-1] + 1)
    return tokens, Segmentation(word_index=tuple(numbers), spans=tuple(spans))


def insert(database: Database, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows into a table."""
    if rows:
        with database.write() as tx:
            tx.execute(table.insert(), rows)


def insert_results(
    database: Database,
    job_id: int,
    done: int,
    layers: int,
    heads: int,
    pairs: tuple[tuple[str, str], ...],
    labels: tuple[str, ...],
    keep_text: bool,
    seed: int,
    shard_size: int,
) -> None:
    """Insert what was computed for the first `done` examples."""
    random_ = random.Random(seed)
    weight = [
        [random_.lognormvariate(-3.5 + 2.0 * s / max(1, layers - 1), 0.9) for _ in range(heads)]
        for s in range(layers)
    ]
    insert(
        database,
        schema.site,
        [
            {
                "job_id": job_id,
                "site": s,
                "layer": s,
                "kind": "encoder",
                "heads": heads,
                "name": f"bert.encoder.layer.{s}.attention.self",
            }
            for s in range(layers if done else 0)
        ],
    )
    rows: dict[Any, list[dict[str, Any]]] = {
        table: []
        for table in (
            schema.example,
            schema.example_result,
            schema.head_score,
            schema.site_result,
            schema.edge,
        )
    }
    sums: dict[tuple[int, int, int], list[float]] = {}
    for number in range(done):
        text_a, text_b = pairs[number % len(pairs)]
        tokens, words = word_pieces((text_a, text_b))
        shown = words.word_texts((text_a, text_b), tokens)
        pieces = zip(words.word_index, words.spans, strict=True)
        written = [None if span is None else shown[word] for word, span in pieces]
        n = len(tokens)
        gold = random_.randrange(len(labels))
        predicted = gold if random_.random() < 0.8 else random_.randrange(len(labels))
        failed = number % 11 == 10
        raw = [random_.random() + 3.0 * (i == predicted) for i in range(len(labels))]
        key = {"job_id": job_id, "example_no": number}
        rows[schema.example].append(
            {
                **key,
                "source_row": number,
                "text_a": text_a if keep_text else None,
                "text_b": text_b if keep_text else None,
                "text_hash": f"{number:064x}",
                "gold": gold,
            }
        )
        attribution = [
            [round(random_.gauss(0.002, 0.02) * (1 + s / 3), 6) for _ in tokens]
            for s in range(layers)
        ]
        # Of a generator of its own: the other numbers stay as they were.
        by_head = np.random.default_rng(number).normal(0, 0.02, (layers, heads, n))
        rows[schema.example_result].append(
            {
                **key,
                "fence": 1,
                "predicted": None if failed else predicted,
                "target": None if failed else predicted,
                "probabilities": "[]" if failed else json.dumps([p / sum(raw) for p in raw]),
                "tokens": json.dumps(tokens) if keep_text else None,
                **to_columns(words if keep_text else None),
                "token_attribution": None if failed else json.dumps(attribution),
                "head_token_attribution": None if failed else pack(by_head),
                "truncated": number % 7 == 3,
                "error": "the model's output is NaN" if failed else None,
            }
        )
        if failed:
            continue
        cells = []
        for s in range(layers):
            rows[schema.site_result].append(
                {
                    **key,
                    "site": s,
                    "f0": random_.random() * 0.3,
                    "f1": random_.random() * 0.5 + 0.5,
                    "residual": random_.gauss(0, 2e-4),
                    "points": random_.choice((3, 3, 7, 7, 15, 31)),
                    "converged": random_.random() > 0.03,
                }
            )
            for h in range(heads):
                score = weight[s][h] * random_.lognormvariate(0, 0.6)
                total = score * random_.uniform(-1, 3)
                query, target = random_.randrange(n), random_.randrange(n)
                strong, mean = random_.random(), random_.random() / 2
                rows[schema.head_score].append(
                    {
                        **key,
                        "site": s,
                        "head": h,
                        "score": score,
                        "total": total,
                        "query": query,
                        "key": target,
                        "attention_max": strong,
                        "attention_mean": mean,
                    }
                )
                cells.append((score, s, h, query, target, strong))
                entry = sums.setdefault((number // shard_size, s, h), [0.0] * 7)
                for i, part in enumerate((1, score, score**2, total, abs(total), strong, mean)):
                    entry[i] += part
        for rank, (score, s, h, query, target, strong) in enumerate(sorted(cells)[:-17:-1], 1):
            rows[schema.edge].append(
                {
                    **key,
                    "rank": rank,
                    "site": s,
                    "head": h,
                    "query": query,
                    "key": target,
                    "query_token": tokens[query] if keep_text else None,
                    "key_token": tokens[target] if keep_text else None,
                    "query_word": written[query] if keep_text else None,
                    "key_word": written[target] if keep_text else None,
                    "attribution": score if rank % 5 else -score,
                    "attention": strong,
                }
            )
    for table, found in rows.items():
        insert(database, table, found)
    names = [column.name for column in schema.shard_sum.columns][4:]
    insert(
        database,
        schema.shard_sum,
        [
            {"job_id": job_id, "shard_no": i, "site": s, "head": h}
            | dict(zip(names, values, strict=True))
            for (i, s, h), values in sums.items()
        ],
    )


def insert_importance(database: Database, job_id: int) -> None:
    """Insert the final importance of every head, from the sums of the shards."""
    columns = [c for c in schema.shard_sum.columns if c.name not in ("job_id", "shard_no")]
    with database.read() as tx:
        query = schema.shard_sum.select().with_only_columns(*columns)
        found = tx.execute(query.where(schema.shard_sum.c.job_id == job_id)).mappings()
        heads = head_importance([HeadSums(**row) for row in found.all()])
    insert(database, schema.importance, [{"job_id": job_id, **head.__dict__} for head in heads])
