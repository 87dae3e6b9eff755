"""Made-up pruning jobs: a source that ranked four of the rows, and results easy to know."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from sqlalchemy import text

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.ask import WorkerIdentity
from db.results import commit
from headwise.stats.sums import MaskSums
from jobs.kinds.pruning import PruningResult
from jobs.outcome import Completed
from jobs.results.base import ExampleResult, SiteInfo
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, planned_job

ROWS = 24


def source_job(database: Database, spec: dict[str, Any], examples: int = 4) -> int:
    """A finished attribution job of the first rows of the same data."""
    job = planned_job(database, examples, spec=json.dumps({"keep_text": True, **spec}))
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    return job


def raw(settings: Settings, source: int, **spec: Any) -> dict[str, Any]:
    """A submission by that source, on all rows."""
    data = settings.home / "pairs.jsonl"
    if not data.exists():
        rows = [
            {"premise": f"text {n}", "hypothesis": f"second {n}", "label": ("no", "yes")[n % 2]}
            for n in range(ROWS)
        ]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [{"job": source, "source": "attattr"}]
    return raw_submission(settings.home, kind="pruning", **{"sources": sources, **spec})


def submitted(database: Database, settings: Settings, **spec: Any) -> int:
    """A pruning job by a source that has ranked the first four of its rows."""
    template = raw(settings, 1, **spec)
    model = settings.home / "model/config.json"
    changed = json.loads(model.read_text()) | {
        "num_hidden_layers": SITES,
        "num_attention_heads": HEADS,
        "id2label": {"0": "no", "1": "yes"},
    }
    model.write_text(json.dumps(changed))
    given = {key: template["spec"][key] for key in ("model", "data")}
    source = source_job(database, given)
    with database.write() as tx:  # the same texts as the file's
        hashes = text("UPDATE example SET text_hash = :digest WHERE example_no = :number")
        for number in range(4):
            digest = _hash(f"text {number}", f"second {number}")
            tx.execute(hashes, {"digest": digest, "number": number})
    return submit(check(raw(settings, source, **spec), settings, database), database)


def _hash(a: str, b: str) -> str:
    return hashlib.sha256(json.dumps([a, b]).encode()).hexdigest()


def plan(database: Database, settings: Settings, app: Any = None) -> None:
    """The scheduler's plan, without a broker."""
    Scheduler(settings, database, app or object()).plan()


def computed(lo: int, hi: int, removed: list[list[list[int]]]) -> PruningResult:
    """Results that depend on example and mask alone: each head that is missing costs accuracy."""
    number = np.arange(lo, hi)
    gold = (number % 2).astype(np.int32)
    lost = np.array([len(heads) for heads in removed])[:, None]
    wrong = (number * 7 % ROWS)[None] < 4 * lost - 4
    predicted = np.where(wrong, 1 - gold, gold).astype(np.int32)
    loss = np.sin(number)[None] + 2.0 + lost
    odd = number % 2 == 1
    return PruningResult(
        sites=tuple(
            SiteInfo(layer=n, attention_type="encoder", heads=HEADS, name=f"layer.{n}")
            for n in range(SITES)
        ),
        examples=tuple(ExampleResult(predicted=int(p)) for p in predicted[0]),
        halves=tuple(  # type: ignore[arg-type]
            MaskSums.of(loss[:, part], predicted[:, part], gold[part], 2) for part in (~odd, odd)
        ),
    )


def run(database: Database, worker: WorkerIdentity = ALICE) -> None:
    """Compute every shard, and finish."""
    while held := claims.claim(database, worker, 60):
        shard = commit.read_shard(database, held)
        done = Completed(parts=(computed(held.lo, held.hi, shard.planned),), seconds=0.1)
        assert commit.commit_shard(database, held, done, "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
