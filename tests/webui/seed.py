"""Fills a database with a job as workers would leave it: texts, scores, pairs, attempts.

Numbers are drawn from a seeded generator with the shape of real ones: a few heads of the upper
layers carry most of the attribution, separators take a large part, most cells are small.
"""

from __future__ import annotations

import json
from typing import Any

from db import schema
from db.database import Database
from tests.webui.seed_results import insert, insert_importance, insert_results

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
    insert_results(
        database, job_id, computed, layers, heads, pairs, labels, keep_text, seed, shard_size
    )
    if final and state == "succeeded":
        insert_importance(database, job_id)
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
