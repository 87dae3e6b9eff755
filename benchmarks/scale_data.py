"""A database of a given size, filled with jobs whose results went through the store's commits.

Shapes are BERT-base's on texts of MNLI's length, numbers are random. Every shard is claimed and
committed as a worker does it: bootstrap sums, lock by the fence, examples, head scores, site
results, edges, sums, attempt, state. Only the computing is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from benchmarks.page import say
from benchmarks.store import HEADS, LAYERS, TOKENS, WHO, job_row, made_up_result
from db.database import Database
from db.kinds.attack import PlannedTrigger
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.ask import WorkerIdentity
from db.queue.examples import ExampleRow
from db.queue.planning import Plan
from db.reads import studies
from db.results import commit
from headwise.stats.attack import AttackSums
from headwise.stats.sums import MaskSums
from jobs.kinds.attack import AttackResult, ModelOutcome
from jobs.kinds.importance import ImportanceResult
from jobs.kinds.pruning import PruningResult
from jobs.kinds.triggers import TriggerToken
from jobs.outcome import Completed
from jobs.results.base import ExampleResult, ShardResult
from jobs.specs.submission import canonical_json, parse_submission

DATA = {
    "path": "/data/dev.jsonl",
    "text_columns": ["premise", "hypothesis"],
    "label_column": "label",
}
MODEL = {"name": "/models/bert-base"}
LABELS = 3
WORKERS = 200
PER_SHARD = 500
"""Examples of a shard: 72,000 head scores."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The result of a load: rows of the largest table, and seconds of the commits alone."""

    job_id: int
    rows: int
    seconds: float

    @property
    def speed(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


def attribution(lo: int, hi: int, seed: int, _planned: Any) -> ShardResult:
    """Attributions, predictions of every class."""
    result = made_up_result(hi - lo, seed)
    words = [f"tok{n}" for n in range((TOKENS - 3) // 2)]
    tokens = ("[CLS]", *words, "[SEP]", *words, "[SEP]")
    first = replace(result.examples[0], probabilities=(0.2, 0.5, 0.3), tokens=tokens)
    kinds = [replace(first, predicted=label, target=label) for label in range(LABELS)]
    strongest_first = -np.sort(-np.abs(result.edge_value), axis=1)
    return replace(
        result, edge_value=strongest_first, examples=tuple(islice(cycle(kinds), hi - lo))
    )


def importance(lo: int, hi: int, seed: int, _planned: Any) -> ShardResult:
    """Importance by Taylor expansion."""
    result = made_up_result(hi - lo, seed)
    values = {"taylor": np.abs(result.score)}
    return ImportanceResult(sites=result.sites, examples=result.examples, values=values)


def pruning(lo: int, hi: int, seed: int, masks: list[Any]) -> ShardResult:
    """Predictions under masks: random ones."""
    draw = np.random.default_rng(seed)
    gold = np.array([gold_of(n) for n in range(lo, hi)], dtype=np.int32)
    predicted = draw.integers(0, LABELS, (len(masks), hi - lo), dtype=np.int32)
    loss, odd = draw.random((len(masks), hi - lo)), np.arange(lo, hi) % 2 == 1
    halves = [
        MaskSums.of(loss[:, part], predicted[:, part], gold[part], LABELS) for part in (~odd, odd)
    ]
    examples = tuple(ExampleResult(predicted=int(label)) for label in predicted[0])
    sites = made_up_result(1).sites
    return PruningResult(sites=sites, examples=examples, halves=(halves[0], halves[1]))


def attack(lo: int, hi: int, seed: int, triggers: list[PlannedTrigger]) -> ShardResult:
    """Every text is predicted correctly, and a third of all triggers change the prediction."""
    draw = np.random.default_rng(seed)
    gold = np.array([gold_of(n) for n in range(lo, hi)])
    turned = draw.random((len(triggers), hi - lo)) < 0.3
    after = np.where(turned, (gold + 1) % LABELS, gold)
    outcome = ModelOutcome(
        after=after,
        probabilities=np.full((*after.shape, LABELS), 1 / LABELS),
        sums=AttackSums.of(gold, gold, after, LABELS),
    )
    unknown = [t.number for t in triggers if t.kind == "attention" and not t.tokens]
    probabilities = (0.2, 0.5, 0.3)
    return AttackResult(
        sites=made_up_result(1).sites,
        examples=tuple(
            ExampleResult(predicted=n, probabilities=probabilities) for n in gold.tolist()
        ),
        triggers=tuple(trigger.number for trigger in triggers),
        attention={number: (TriggerToken("tok1", 0, 0.5, "tok1"),) for number in unknown},
        models=(outcome,),
        keep_outcomes=True,
    )


MADE: dict[str, Callable[[int, int, int, Any], ShardResult]] = {
    "attribution": attribution,
    "importance": importance,
    "pruning": pruning,
    "attack": attack,
}
"""By kind: a shard's result from its bounds, a seed, and what the job's plan left for workers."""


def gold_of(example: int) -> int:
    """Gold labels that some predictions match."""
    return example * 7 % LABELS if example % 4 else example % LABELS


def fill(
    database: Database,
    examples: int,
    *,
    kind: str = "attribution",
    shards_done: int | None = None,
    per_shard: int = PER_SHARD,
    log: Callable[[str], None] = say,
    **spec: Any,
) -> Load:
    """Submit a job, commit all or the first few of its shards, and finish it."""
    job_id, bounds = planned(database, examples, kind, per_shard, spec)
    seconds, rows = 0.0, 0
    for number, (lo, hi) in enumerate(bounds[:shards_done]):
        started = time.perf_counter()
        held = claims.claim(database, WHO, 600)
        assert held is not None
        assert held.job_id == job_id
        seconds += time.perf_counter() - started
        shard = commit.read_shard(database, held)
        done = Completed(parts=(MADE[kind](lo, hi, number, shard.planned),), seconds=60.0)
        started = time.perf_counter()
        assert commit.commit_shard(database, held, done, "fingerprint")
        seconds += time.perf_counter() - started
        rows += (hi - lo) * LAYERS * HEADS
        if number % 20 == 19:
            log(f"{kind}: {rows:,} rows, {rows / seconds:,.0f}/s")
    if shards_done is None:
        lifecycle.sweep_jobs(database)
        assert lifecycle.finish_jobs(database) == [job_id]
    return Load(job_id=job_id, rows=rows, seconds=seconds)


def planned(
    database: Database,
    examples: int,
    kind: str,
    per_shard: int,
    spec: dict[str, Any],
    queue: str = "default",
) -> tuple[int, list[tuple[int, int]]]:
    """A running job, the only one with ready shards, and its shards' bounds."""
    raw = {"spec": {"kind": kind, "model": MODEL, "data": DATA, **spec}, "name": f"{examples:,}"}
    checked = parse_submission(raw)
    values = job_row(
        canonical_json(checked.spec), examples, kind=kind, name=checked.name, queue=queue
    )
    rows = [
        ExampleRow(
            n, f"The text number {n} of the corpus.", f"Another text, {n}.", f"{n:064x}", gold_of(n)
        )
        for n in range(examples)
    ]
    job_id = new_jobs.create_job(database, values, rows)
    (request,) = planning.take_plans(database)
    own = planning.plan_kind(database, request, checked.spec, None)
    bounds = [(lo, min(lo + per_shard, examples)) for lo in range(0, examples, per_shard)]
    assert planning.write_plan(database, job_id, Plan(bounds=bounds, fingerprint="data", own=own))
    return job_id, bounds


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Jobs of every kind, a running one, and a study of the finished ones."""

    big: Load
    importance: int
    pruning: int
    attack: int
    running: int
    study: int
    examples: int
    """Of the big job."""


def fill_every_kind(database: Database, big: Load, examples: int, shards: int) -> Filled:
    """Fill in an attribution, the other kinds with a tenth of its examples, and a running job.

    One in a hundred of the running job's shards is done."""
    tenth = max(1, examples // 10)
    taylor = fill(database, tenth, kind="importance", method="taylor").job_id
    sources = [
        {"job": big.job_id, "source": "attattr"},
        {"job": taylor, "source": "taylor"},
    ]
    pruned = fill(database, tenth, kind="pruning", sources=sources, allow_overlap=True).job_id
    attacked = fill(database, tenth, kind="attack", triggers_from=big.job_id).job_id
    # The last: its ready shards would be claimed before those of later jobs.
    running = fill(database, 5 * shards, per_shard=5, shards_done=max(1, shards // 100)).job_id
    for _ in range(min(shards // 2, WORKERS)):
        claims.claim(database, WHO, 3600)
    steps = {"attribution": big.job_id, "taylor": taylor, "pruning": pruned, "attack": attacked}
    study, _ = studies.write_study(
        database, "scale", "bench", steps, lambda step, _numbers: steps[step]
    )
    _add_workers(database)
    return Filled(
        big=big,
        importance=taylor,
        pruning=pruned,
        attack=attacked,
        running=running,
        study=study,
        examples=examples,
    )


def _add_workers(database: Database) -> None:
    for number in range(WORKERS):
        who = WorkerIdentity(
            name=f"gpu-{number}-1-abcdef",
            host=f"gpu-{number // 8}",
            pid=number,
            queue="default",
            device="cuda:0 NVIDIA H100",
            versions="{}",
        )
        fleet.report_worker(database, who, ProcessState.IDLE)
