"""The speed of storing a shard's results: head scores per second, per database.

A whole commit of a worker is timed: shard row locked, examples, head scores, site
results, edges, sums, attempt, state. `plain` is the same head scores through SQLAlchemy's
executemany, the straightforward way.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import insert

from db import schema
from db.database import Database
from db.queue import claims, new_jobs, planning
from db.queue.ask import WorkerIdentity
from db.queue.examples import ExampleRow
from db.queue.planning import Plan
from db.results import commit
from headwise.segmentation import Segmentation, Span
from jobs.kinds.attribution import AttributionResult
from jobs.outcome import Completed
from jobs.results import site_tokens
from jobs.results.base import ExampleResult, SiteInfo
from jobs.results.head_tokens import pack

LAYERS, HEADS, TOKENS, EDGES = 12, 12, 39, 16
WHO = WorkerIdentity(
    name="bench", host="bench", pid=1, queue="default", device="cpu", versions="{}"
)


def made_up_result(
    examples: int, seed: int = 0, *, layers: int = LAYERS, heads: int = HEADS, tokens: int = TOKENS
) -> AttributionResult:
    """Random numbers in the shape of a BERT-base shard on MNLI-length text, or another shape."""
    draw = np.random.default_rng(seed)
    grid, per_site, cells = (examples, layers, heads), (examples, layers), (examples, EDGES)
    by_head = draw.standard_normal((layers, heads, tokens)) * draw.random((layers, heads, 1)) / 10
    example = ExampleResult(
        predicted=1,
        target=1,
        probabilities=(0.1, 0.7, 0.2),
        tokens=tuple(f"tok{n}" for n in range(tokens)),
        words=Segmentation(
            word_index=tuple(range(tokens)),
            spans=tuple(Span(0, 5 * n, 5 * n + 4) for n in range(tokens)),
        ),
        word_texts=tuple(f"word{n}" for n in range(tokens)),
        token_attribution=site_tokens.to_json(by_head.sum(1)),
        head_token_attribution=pack(by_head),
        truncated=False,
    )

    def floats(shape: tuple[int, ...]) -> np.ndarray:
        return draw.standard_normal(shape).astype(np.float32)

    def positions(shape: tuple[int, ...], top: int = tokens) -> np.ndarray:
        return draw.integers(0, top, shape, dtype=np.int32)

    return AttributionResult(
        sites=tuple(
            SiteInfo(layer=layer, attention_type="encoder", heads=heads, name=f"layer.{layer}")
            for layer in range(layers)
        ),
        examples=(example,) * examples,
        score=floats(grid),
        total=floats(grid),
        query=positions(grid),
        key=positions(grid),
        attention_max=floats(grid),
        attention_mean=floats(grid),
        f0=floats(per_site),
        f1=floats(per_site),
        residual=floats(per_site),
        points=positions(per_site),
        converged=np.ones(per_site, dtype=bool),
        edge_site=positions(cells, layers),
        edge_head=positions(cells, heads),
        edge_query=positions(cells),
        edge_key=positions(cells),
        edge_value=floats(cells),
        edge_attention=floats(cells),
    )


def job_row(
    spec: str,
    examples: int,
    *,
    kind: str = "attribution",
    name: str = "bench",
    queue: str = "default",
) -> dict[str, Any]:
    """The row of a queued job on a model of BERT-base's shape with three labels."""
    return {
        "kind": kind,
        "name": name,
        "spec": spec,
        "spec_hash": "",
        "user_name": "bench",
        "priority": 0,
        "queue": queue,
        "state": "queued",
        "control": "run",
        "dedupe_key": None,
        "idempotency_key": None,
        "labels": '["contradiction", "neutral", "entailment"]',
        "layers": LAYERS,
        "heads": HEADS,
        "examples": examples,
    }


def make_job(database: Database, examples: int, shards: int) -> int:
    """A running job with the given numbers of examples and shards."""
    values = job_row(json.dumps({"keep_text": True}), examples)
    rows = [ExampleRow(number, "a text", "another text", "", None) for number in range(examples)]
    job_id = new_jobs.create_job(database, values, rows)
    planning.take_plans(database)
    size = examples // shards
    bounds = [(number * size, (number + 1) * size) for number in range(shards)]
    planning.write_plan(database, job_id, Plan(bounds=bounds))
    return job_id


def commits(database: Database, *, examples: int = 500, shards: int = 8) -> float:
    """Median head scores per second over whole-shard commits."""
    make_job(database, examples * shards, shards)
    done = Completed(parts=(made_up_result(examples),), seconds=1.0)
    speeds = []
    for _ in range(shards):
        held = claims.claim(database, WHO, 60)
        assert held is not None
        started = time.perf_counter()
        assert commit.commit_shard(database, held, done, "fingerprint")
        speeds.append(examples * LAYERS * HEADS / (time.perf_counter() - started))
    return median(speeds[1:])


def plain_inserts(database: Database, examples: int = 100) -> float:
    """Head scores per second through SQLAlchemy's insert of dictionaries, head scores alone."""
    result = made_up_result(examples)
    started = time.perf_counter()
    rows = [
        {
            "job_id": 999_999,
            "example_no": example,
            "site": site,
            "head": head,
            **{
                name: getattr(result, name)[example, site, head].item()
                for name in ("score", "total", "query", "key", "attention_max", "attention_mean")
            },
        }
        for example in range(examples)
        for site in range(LAYERS)
        for head in range(HEADS)
    ]
    with database.write() as tx:
        tx.execute(insert(schema.head_score), rows)
    return len(rows) / (time.perf_counter() - started)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Head scores per second: in whole commits, and alone through plain inserts."""

    database: str
    commits: float
    plain: float


def run(postgres_url: str | None) -> list[Row]:
    """A row per database."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'bench.sqlite'}"}
        if postgres_url:
            urls["PostgreSQL"] = postgres_url
        for name, url in urls.items():
            database = Database(url)
            database.migrate()
            speed = commits(database)
            rows.append(Row(database=name, commits=speed, plain=plain_inserts(database)))
            database.close()
    return rows
