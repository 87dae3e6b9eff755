"""Fills a database with a job as workers would leave it: texts, scores, pairs, attempts.

Numbers are drawn from a seeded generator with the shape of real ones: a few heads of the upper
layers carry most of the attribution, separators take a large part, most cells are small.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from db import schema
from db.database import Database
from db.results.words import to_columns
from headwise.segmentation import Segmentation, Span
from jobs.kinds.head_importance import HeadSums, head_importance

PAIRS = (
    ("John is very poor in science", "John failed in physics exam"),
    (
        "The ferry leaves at noon from the northern pier.",
        "The ferry leaves in the middle of the day.",
    ),
    (
        "Heavy floods closed every school in Iowa last spring.",
        "Schools in Iowa stayed open all spring.",
    ),
    ("She unlocked the laboratory before sunrise.", "Nobody entered the laboratory that morning."),
    ("Two musicians were tuning their instruments backstage.", "The musicians are brothers."),
    ("The committee postponed the vote until Thursday.", "There was no vote on Wednesday."),
    (
        "A café on the corner sells unbelievably good croissants.",
        "You can buy pastry on the corner.",
    ),
    ("The bridge was repainted green after the war.", "The bridge has never been painted."),
)
VERSIONS = '{"headwise": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}'
LABELS = ("contradiction", "neutral", "entailment")


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


def clock(database: Database) -> float:
    """The database's clock."""
    with database.read() as tx:
        return tx.now()


def seed_job(
    database: Database,
    *,
    examples: int = 12,
    done: int | None = None,
    state: str = "succeeded",
    control: str = "run",
    name: str = "",
    layers: int = 6,
    heads: int = 12,
    shard_size: int = 6,
    pairs: tuple[tuple[str, str], ...] = PAIRS,
    labels: tuple[str, ...] = LABELS,
    keep_text: bool = True,
    seed: int = 0,
    error: str | None = None,
) -> int:
    """One job of which `done` examples (default: all) are computed; returns its number."""
    now = clock(database)
    spec = {
        "version": 1,
        "kind": "attribution",
        "model": {"name": "/home/ada/.headwise/models/demo-nli", "revision": None},
        "data": {
            "path": "/home/ada/.headwise/demo/pairs.jsonl",
            "dataset": None,
            "config": None,
            "split": None,
            "revision": None,
            "text_columns": ["premise", "hypothesis"],
            "label_column": "label",
            "offset": 0,
            "limit": examples,
            "sample": None,
            "seed": 0,
        },
        "max_length": None,
        "target": "predicted",
        "output": "probability",
        "integration": "auto",
        "rtol": 0.001,
        "max_points": 64,
        "dtype": "float32",
        "device": "auto",
        "edges": 16,
        "keep_text": keep_text,
    }
    final = state in ("succeeded", "failed", "cancelled")
    with database.write() as tx:
        job_id = tx.execute(
            schema.job.insert().returning(schema.job.c.id),
            {
                "kind": "attribution",
                "name": name,
                "spec": json.dumps(spec),
                "spec_hash": "ab" * 32,
                "user_name": "local",
                "priority": 0,
                "queue": "default",
                "state": state,
                "control": control,
                "error": error,
                "labels": json.dumps(labels),
                "layers": layers,
                "heads": heads,
                "examples": examples,
                "data_fingerprint": "cd" * 32,
                "model_fingerprint": "ef" * 32,
                "result_hash": "12" * 32 if state == "succeeded" else None,
                "created_at": now - 130,
                "started_at": None if state in ("queued", "planning") else now - 120,
                "finished_at": now - 20 if final else None,
            },
        ).scalar_one()
    if state in ("queued", "planning"):
        return int(job_id)
    computed = examples if done is None else done
    _shards(database, job_id, examples, computed, shard_size, final, now)
    _results(database, job_id, computed, layers, heads, pairs, labels, keep_text, seed, shard_size)
    if final and state == "succeeded":
        _importance(database, job_id)
    return int(job_id)


def _shards(
    database: Database, job_id: int, examples: int, done: int, size: int, final: bool, now: float
) -> None:
    shards, attempts = [], []
    running = False
    for number, lo in enumerate(range(0, examples, size)):
        hi = min(lo + size, examples)
        state = "done" if hi <= done else "cancelled" if final else "ready"
        if state == "ready" and not running:
            state, running = "leased", True
        fence = 2 if number == 1 else 1 if state in ("done", "leased") else 0
        shards.append(
            {
                "job_id": job_id,
                "shard_no": number,
                "lo": lo,
                "hi": hi,
                "state": state,
                "fence": fence,
                "owner": "orion-4121-1" if fence else None,
                "lease_until": now + 50 if state == "leased" else None,
                "available_at": now - 120,
                "progress": hi - lo if state == "done" else (hi - lo) // 2 * (state == "leased"),
                "examples_failed": sum(n % 11 == 10 for n in range(lo, hi)) * (state == "done"),
                "errors": 1 if number == 1 else 0,
                "losses": 0,
                "error": None,
            }
        )
        for claim in range(1, fence + 1):
            failed = number == 1 and claim == 1
            ended = failed or state == "done"
            attempts.append(
                {
                    "job_id": job_id,
                    "shard_no": number,
                    "fence": claim,
                    "worker": "orion-4121-1",
                    "device": "cuda:0 (NVIDIA A10)" if number % 2 else "cpu (2 threads)",
                    "versions": VERSIONS,
                    "started_at": now - 110 + number,
                    "finished_at": now - 100 + number if ended else None,
                    "outcome": ("error" if failed else "done") if ended else None,
                    "examples": None if failed or not ended else hi - lo,
                    "seconds": None if failed or not ended else 9.5,
                    "error": "RuntimeError: CUDA error: an illegal memory access"
                    if failed
                    else None,
                }
            )
    insert(database, schema.shard, shards)
    insert(database, schema.attempt, attempts)


def _results(
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


def _importance(database: Database, job_id: int) -> None:
    columns = [c for c in schema.shard_sum.columns if c.name not in ("job_id", "shard_no")]
    with database.read() as tx:
        query = schema.shard_sum.select().with_only_columns(*columns)
        found = tx.execute(query.where(schema.shard_sum.c.job_id == job_id)).mappings()
        heads = head_importance([HeadSums(**row) for row in found.all()])
    insert(database, schema.importance, [{"job_id": job_id, **head.__dict__} for head in heads])


def seed_worker(database: Database, name: str, *, silent: float = 1.0, **values: Any) -> None:
    """A worker that was last seen `silent` seconds ago."""
    now = clock(database)
    row = {
        "name": name,
        "host": "orion",
        "pid": 4121,
        "queue": "default",
        "device": "cpu (2 threads)",
        "versions": VERSIONS,
        "state": "idle",
        "job_id": None,
        "shard_no": None,
        "started_at": now - 900,
        "seen_at": now - silent,
    }
    insert(database, schema.worker, [{**row, **values}])
