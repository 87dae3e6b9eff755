"""A night of an installation: jobs of several users, workers, errors, and samples of every step."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

from db import schema
from db.database import Database
from db.ops.samples import STEP
from tests.webui.seed import VERSIONS, clock, seed_worker
from tests.webui.seed_results import insert

USERS = ("ada", "bela", "chen")
ERRORS = (
    "RuntimeError: CUDA error: an illegal memory access was encountered at 0x7f{n:06x}",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {n}.25 GiB (GPU {gpu}; 79.15 "
    "GiB total capacity, 78.90 GiB in use)",
    "the lease expired: worker {worker} was silent, killed or stuck",
    "OSError: [Errno 5] Input/output error: '/srv/models/run-{n}/model.safetensors'",
)
KINDS = ("attribution", "importance", "pruning", "attack")
SPEC = {
    "version": 1,
    "model": {"name": "/srv/models/bert-base-mnli"},
    "data": {"path": "/srv/texts/dev.jsonl"},
}


def seed_night(
    database: Database, *, jobs: int = 40, workers: int = 6, hours: int = 24, seed: int = 0
) -> None:
    """Fill in jobs that ended in the last hours, the last of which still run or wait."""
    draw, now = random.Random(seed), clock(database)
    names = [f"gpu-{n}-{4100 + n}-{draw.randrange(16**6):06x}" for n in range(workers)]
    rows: dict[Any, list[dict[str, Any]]] = {schema.job: [], schema.shard: [], schema.attempt: []}
    for number in range(1, jobs + 1):
        began = now - hours * 3600 * (1 - (number - 1) / jobs)
        state = {jobs: "running", jobs - 1: "running", jobs - 2: "paused"}.get(number, "succeeded")
        failed = number % 13 == 7 and state == "succeeded"
        _job(rows, draw, number, began, "failed" if failed else state, now)
        _attempts(rows, draw, number, names, began, hours * 3600 / jobs, state, now)
    for table, found in rows.items():
        insert(database, table, found)
    insert(database, schema.sample, _samples(rows[schema.attempt], draw, names, hours, now))
    _sizes(database, draw, jobs, now)
    _workers(database, names, jobs, now)


def _job(
    rows: dict[Any, list[dict[str, Any]]],
    draw: random.Random,
    number: int,
    began: float,
    state: str,
    now: float,
) -> None:
    kind = KINDS[number % 4]
    final = state in ("succeeded", "failed")
    rows[schema.job].append(
        {
            "id": number,
            "kind": kind,
            "name": draw.choice(("", f"{kind} of layer {number % 12}", f"MNLI sweep {number}")),
            "spec": json.dumps({**SPEC, "kind": kind}),
            "spec_hash": "ab" * 32,
            "user_name": USERS[min(2, int(draw.expovariate(1.0)))],
            "priority": 0,
            "queue": "gpu" if number % 5 else "quick",
            "state": state,
            "control": "pause" if state == "paused" else "run",
            "error": "1 of 8 shards failed: shard 3: OSError: [Errno 5] Input/output error"
            if state == "failed"
            else None,
            "labels": '["no", "yes"]',
            "layers": 12,
            "heads": 12,
            "examples": 4000,
            "block": 0,
            "created_at": began - 60,
            "started_at": began,
            "finished_at": min(now - 60, began + 1900) if final else None,
        }
    )


def _attempts(
    rows: dict[Any, list[dict[str, Any]]],
    draw: random.Random,
    job: int,
    names: list[str],
    began: float,
    length: float,
    state: str,
    now: float,
) -> None:
    for part in range(8):
        start = began + part / 8 * length
        shard = {"job_id": job, "shard_no": part, "lo": 500 * part, "hi": 500 * part + 500}
        ready = state != "succeeded" and part >= 3
        leased = ready and state == "running" and part == 3
        worker = draw.choice(names)
        broken = draw.random() < 0.12
        rows[schema.shard].append(
            {
                **shard,
                "state": "leased" if leased else "ready" if ready else "done",
                "fence": 0 if ready and not leased else 1 + broken,
                "owner": worker if leased or not ready else None,
                "lease_until": now + 50 if leased else None,
                "available_at": began,
                "progress": 120 if leased else 0,
                "moved_at": now - 4 if leased else None,
            }
        )
        if ready and not leased:
            continue
        tries = [draw.randrange(len(ERRORS))] if broken else []
        for fence, kind in enumerate([*tries, None], start=1):
            took = draw.uniform(40, 110)
            ended = min(start + took, now - 1)
            error = None
            if kind is not None:
                values = {"n": draw.randrange(99), "gpu": draw.randrange(8), "worker": worker}
                error = ERRORS[kind].format(**values)
            outcome = "done" if error is None else "lost" if kind == 2 else "error"
            open_ = leased and error is None
            rows[schema.attempt].append(
                {
                    "job_id": job,
                    "shard_no": part,
                    "fence": fence,
                    "worker": worker,
                    "device": "cuda:0 (NVIDIA H100)",
                    "versions": VERSIONS,
                    "started_at": now - 30 if open_ else start,
                    "finished_at": None if open_ else ended,
                    "outcome": None if open_ else outcome,
                    "examples": 500 if outcome == "done" and not open_ else None,
                    "seconds": took if outcome == "done" and not open_ else None,
                    "error": error,
                }
            )
            start = ended


def _samples(
    attempts: list[dict[str, Any]], draw: random.Random, names: list[str], hours: int, now: float
) -> list[dict[str, Any]]:
    """One row per step, queue, worker and user, as the scheduler would have written them."""
    until = int(now - 30) // STEP * STEP
    counts: dict[tuple[str, str, int], Counter[str]] = {}
    for one in attempts:
        if one["finished_at"] is None:
            continue
        at = int(one["finished_at"]) // STEP * STEP
        queue = "gpu" if one["job_id"] % 5 else "quick"
        for key in (
            ("queue", queue),
            ("worker", one["worker"]),
            ("user", USERS[one["job_id"] % 3]),
        ):
            found = counts.setdefault((*key, at), Counter())
            found["attempts"] += 1
            found["failures"] += one["outcome"] != "done"
            found["examples"] += one["examples"] or 0
            found["seconds"] += one["finished_at"] - one["started_at"]
    empty = {"attempts": 0, "failures": 0, "examples": 0, "seconds": 0.0}
    gauges = ("ready", "waiting", "leased", "oldest", "workers", "memory", "device_memory")
    rows = []
    for at in range(until - hours * 3600, until, STEP):
        day = max(0.0, math.sin((at - until) / 9000))
        for queue, weight in (("gpu", 1.0), ("quick", 0.1)):
            waiting = round(weight * (6000 * day + draw.uniform(0, 400)))
            look = {"ready": waiting // 500, "waiting": waiting, "leased": 3, "workers": 6}
            if until - 9 * 3600 < at < until - 8.4 * 3600:
                look = {}  # no scheduler ran
            else:
                look["oldest"] = weight * (1500 * day + draw.uniform(0, 60))
            rows.append(("queue", queue, at, look))
        for number, name in enumerate(names):
            grown = 4e9 + 4e8 * number + 2e4 * (at - until) * (number % 2)
            rows.append(("worker", name, at, {"memory": int(grown), "device_memory": 60 * 10**9}))
        rows += [("user", user, at, {}) for user in USERS if ("user", user, at) in counts]
    return [
        {
            "subject": subject,
            "name": name,
            "starts_at": at,
            "step": STEP,
            **empty,
            **dict.fromkeys(gauges),
            **counts.get((subject, name, at), {}),
            **look,
        }
        for subject, name, at, look in rows
    ]


def _sizes(database: Database, draw: random.Random, jobs: int, now: float) -> None:
    sizes = [round(draw.lognormvariate(17, 2)) for _ in range(jobs)]
    insert(
        database,
        schema.job_size,
        [
            {"job_id": n, "bytes": size, "details": size * 9 // 10, "measured_at": now}
            for n, size in enumerate(sizes, start=1)
        ],
    )


def _workers(database: Database, names: list[str], jobs: int, now: float) -> None:
    usage = {
        "memory": 2.4e9,
        "cpu": 1.2,
        "threads": 8,
        "device_memory": 85e9,
        "device_reserved": 60e9,
        "device_use": 0.93,
    }
    for number, name in enumerate(names):
        busy = {"state": "busy", "job_id": jobs - number % 2, "shard_no": 3} if number < 2 else {}
        seed_worker(
            database,
            name,
            silent=400.0 if number == len(names) - 1 else 1.0,
            host=f"gpu-{number}",
            queue="gpu,quick" if number == 0 else "gpu",
            device="cuda:0 (NVIDIA H100)",
            beat_seconds=10,
            resource_usage=json.dumps(usage),
            **busy,
        )
    insert(
        database,
        schema.usage,
        [
            {"user_name": user, "source": "gpu-0", "seconds": 1000.0 * n, "updated_at": now - 600}
            for n, user in enumerate(USERS, start=1)
        ],
    )
