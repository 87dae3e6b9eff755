"""Queries about jobs, shards and attempts. Queries about results: `db.reads.results`.

Callers check that job numbers fit the column (1 .. 2^31 - 1).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping

from db import schema
from db.database import Database
from db.queue.sql import COMPUTED, ELAPSED, HELD
from db.transaction import Transaction
from headwise.models.labels import Outputs, outputs_of
from jobs.errors import NotFoundError
from jobs.inputs.data.understood import Understood
from jobs.outcome import AttemptOutcome
from jobs.scheduling.estimates import RATE_WINDOW, Pieces, Range, recent_rate, remaining
from jobs.states import FINAL_JOB_STATES, MAX_PLAN_TRIES, JobState, ShardState

INLINE = '%"inline":true%'
"""A canonical specification with `data.inline`."""

RECENT_ATTEMPTS = """
SELECT a.job_id, a.started_at, a.finished_at,
    CASE WHEN a.finished_at IS NULL THEN s.progress ELSE a.examples END AS examples
FROM attempt a JOIN shard s ON s.job_id = a.job_id AND s.shard_no = a.shard_no
WHERE a.job_id IN :job_ids AND (a.finished_at IS NULL OR a.finished_at > :since)
  AND (a.outcome IS NULL OR a.outcome = 'done')
"""
"""Attempts that finished recently, or are running."""

TIMES = f"""
SELECT h.job_id, {ELAPSED} AS elapsed, {COMPUTED} AS compute,
    COUNT(h.piece) AS pieces, SUM(CASE WHEN h.piece > 0 THEN h.examples END) AS examples,
    SUM(h.piece) AS seconds, SUM(h.piece * h.piece / h.examples) AS squares
FROM (SELECT t.*, CASE WHEN t.outcome = 'done' AND t.examples > 0 AND t.seconds > 0
          THEN CASE WHEN t.turn = 1 THEN t.seconds ELSE t.ended - t.started_at END END AS piece
      FROM (SELECT w.*, ROW_NUMBER() OVER (PARTITION BY w.job_id, w.worker
                ORDER BY w.started_at, w.shard_no, w.fence) AS turn
            FROM ({HELD} WHERE a.job_id IN :job_ids) w) t) h
GROUP BY h.job_id
"""  # noqa: S608 - constants
"""For how long workers held shards of jobs, and the pieces that are done. Of a worker's first one
the time of computing counts alone: it has loaded the model before."""

PARENTS = """
SELECT p.job_id, p.parent_id, q.state FROM job_parent p
JOIN job q ON q.id = p.parent_id WHERE p.job_id IN :job_ids ORDER BY p.parent_id
"""
FIRST_TEXTS = """
SELECT job_id, substr(text_a, 1, :length) FROM example
WHERE job_id IN :job_ids AND example_no = 0 AND text_a IS NOT NULL
"""
EXCERPT = 80
"""Characters of a job's first text in lists."""
TEXTS = "SELECT text_a, text_b, gold FROM example WHERE job_id = :job_id ORDER BY example_no"
CHILDREN = "SELECT job_id FROM job_parent WHERE parent_id = :job_id ORDER BY job_id"

SHARD_COUNTS = "SELECT state, COUNT(*) AS n FROM shard WHERE job_id = :job_id GROUP BY state"

SHARDS = """
SELECT s.shard_no, s.lo, s.hi, s.state, s.fence, s.owner, s.progress, s.examples_failed, s.errors,
    s.losses, s.error,
    CASE WHEN s.state = 'leased' THEN {clock} - s.moved_at END AS still,
    CASE WHEN s.state = 'leased' THEN {clock} - w.seen_at END AS silent,
    w.beat_seconds AS heartbeat_seconds
FROM shard s LEFT JOIN worker w ON w.name = s.owner
WHERE s.job_id = :job_id AND (:state = '' OR s.state = :state)
  AND (CASE s.state WHEN 'failed' THEN 0 WHEN 'leased' THEN 1 ELSE 2 END, s.shard_no)
    > (:order, :shard)
ORDER BY CASE s.state WHEN 'failed' THEN 0 WHEN 'leased' THEN 1 ELSE 2 END, s.shard_no
LIMIT :limit OFFSET :offset
"""
"""Shards of a job, failed ones first, then leased ones."""

ATTEMPTS = """
SELECT shard_no, fence, worker, device, versions, started_at, finished_at, outcome, examples,
    seconds, error
FROM attempt WHERE job_id = :job_id AND shard_no IN :shards ORDER BY shard_no, fence
"""

VERSIONS = """
SELECT DISTINCT job_id, device, versions FROM attempt
WHERE job_id IN :job_ids AND outcome = 'done' ORDER BY job_id, device, versions
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job with its progress."""

    id: int
    kind: str
    name: str
    user: str
    state: JobState
    control: str
    priority: int
    queue: str
    quick: bool
    """True for the job of one text, which a form asks for and waits for."""
    model_name: str
    """See `jobs.titles`; empty for jobs of earlier releases' dashboards, like the next."""
    data_name: str
    examples: int
    examples_done: int
    """Examples whose shard is done."""
    examples_failed: int
    in_progress: int
    """Examples computed in shards that are not done yet: in whole batches, which a pause keeps."""
    layers: int | None
    heads: int | None
    labels: tuple[str, ...]
    outputs: Outputs
    """Meaning of the labels: names of classes, of labels, or of numbers."""
    spec: dict[str, Any]
    spec_hash: str
    data_fingerprint: str | None
    model_fingerprint: str | None
    result_hash: str | None
    error: str | None
    warning: str | None
    """A warning about its results."""
    understood: Understood | None
    """The reading of its data; None before that, and in jobs of earlier releases."""
    created_at: float
    started_at: float | None
    finished_at: float | None
    deadline_at: float | None
    """Time at which it fails with partial results, unless it has ended."""
    purged_at: float | None
    """Time at which its details were purged: texts and rows per example."""
    keep_days: float | None
    """Days from its end until it is deleted, if set for this job; 0 for never."""
    keep_details_days: float | None
    """Days from its end until its details are purged, likewise."""
    plan_at: float | None
    """Time at which planning is tried again, if the hub did not answer."""
    plan_tries: int
    """Number of failed tries at planning."""
    now: float
    """The database's clock at the time of the query."""
    parents: tuple[tuple[int, JobState], ...] = ()
    """Numbers and states of the jobs that it needs."""
    excerpt: str | None = None
    """The beginning of its first text, if its texts came with the submission and are kept."""
    leases: int = 0
    """Shards that workers hold now."""
    elapsed: float | None = None
    """Seconds during which workers held at least one of its shards; None before the first."""
    compute: float = 0.0
    """Seconds that workers held its shards, added up."""
    rate: float | None = None
    """Examples per second of `elapsed`: recently while it is running, over the whole job once it is
    final."""
    remaining: Range | None = None
    """Seconds left with the workers that hold its shards; None while none does, and before it says
    anything."""

    @property
    def final(self) -> bool:
        """True once the job has ended."""
        return self.state in FINAL_JOB_STATES

    @property
    def computed(self) -> int:
        """Examples computed so far, including those of unfinished shards."""
        return min(self.examples, self.examples_done + self.in_progress)

    @property
    def examples_ok(self) -> int:
        """Examples of finished shards that did not fail."""
        return self.examples_done - self.examples_failed

    @property
    def waiting(self) -> str | None:
        """The reason why a queued job waits, unless it waits for a scheduler."""
        unfinished = [str(job) for job, state in self.parents if state is not JobState.SUCCEEDED]
        if unfinished and self.state is JobState.QUEUED:
            return f"waiting for job {' and '.join(unfinished)}"
        if self.plan_at is None:
            return None
        when = datetime.fromtimestamp(self.plan_at, UTC).strftime("%H:%M:%S UTC")
        tries = f"{self.plan_tries} of {MAX_PLAN_TRIES} failed"
        return f"waiting for the hub, next try at {when} ({tries})"

    def ends_at(self, days: float, own: float | None) -> float | None:
        """Time at which data kept for `own` or else `days` days is removed, or None."""
        limit = days if own is None else own
        return self.finished_at + 86_400 * limit if self.finished_at and limit else None


_FROM_TABLE = {field.name for field in fields(Job)} - {"plan_at"}
_COLUMNS = ", ".join(f"t.{c.name} AS {c.key}" for c in schema.job.columns if c.key in _FROM_TABLE)
"""The columns of the table that are fields of a job."""
_JOB = f"""
SELECT {_COLUMNS}, t.user_name, j.examples_done, j.examples_failed,
    CASE WHEN t.state = 'queued' AND t.plan_at > 0 THEN t.plan_at END AS plan_at,
    {{clock}} AS now,
    t.elapsed_seconds, t.compute_seconds,
    COALESCE((SELECT SUM(s.progress) FROM shard s
              WHERE s.job_id = j.job_id AND s.state IN ('leased', 'ready')), 0) AS in_progress,
    (SELECT COUNT(*) FROM shard s WHERE s.job_id = j.job_id AND s.state = 'leased') AS leases
FROM jobs j JOIN job t ON t.id = j.job_id
"""  # noqa: S608 - constants
JOB = _JOB + "WHERE j.job_id = :job_id"
JOBS = _JOB + "WHERE j.job_id IN :job_ids"
EXISTS = "SELECT 1 FROM job WHERE id = :job_id AND state <> 'deleting'"


@dataclass(frozen=True, kw_only=True)
class StoredText:
    """The input of an example."""

    text_a: str | None
    """None once it is deleted."""
    text_b: str | None
    gold: int | None
    """Index of its gold label."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One claim of a shard by a worker."""

    shard: int
    fence: int
    worker: str
    device: str
    versions: str
    started_at: float
    finished_at: float | None
    outcome: AttemptOutcome | None
    examples: int | None
    seconds: float | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard and its attempts."""

    shard: int
    lo: int
    hi: int
    state: str
    fence: int
    worker: str | None
    progress: int
    examples_failed: int
    errors: int
    losses: int
    error: str | None
    still: float | None
    """Seconds since a leased shard made progress, by the database's clock."""
    silent: float | None
    """Seconds since the last heartbeat of the worker that holds it."""
    heartbeat_seconds: float | None
    attempts: tuple[Attempt, ...]


def get_jobs(database: Database, job_ids: Sequence[int]) -> list[Job]:
    """Get jobs in this order, with their rates; those that are gone are left out."""
    if not job_ids:
        return []
    with database.read() as tx:
        found = {job.id: job for job in _complete(tx, tx.rows(JOBS, job_ids=list(job_ids)))}
    return [found[number] for number in job_ids if number in found]


def get_job(database: Database, job_id: int) -> Job:
    """Get one job. Raises NotFoundError."""
    with database.read() as tx:
        rows = tx.rows(JOB, job_id=job_id)
        if not rows:
            raise NotFoundError(f"There is no job {job_id}.")
        return _complete(tx, rows)[0]


def check_exists(database: Database | Transaction, job_id: int) -> None:
    """Raise NotFoundError for a job that is not there, or no longer."""
    if not database.rows(EXISTS, job_id=job_id):
        raise NotFoundError(f"There is no job {job_id}.")


def list_texts(database: Database, job_id: int) -> list[StoredText]:
    """List the examples of a job as they were given."""
    return [StoredText(**row) for row in database.rows(TEXTS, job_id=job_id)]


def list_children(database: Database, job_id: int) -> list[int]:
    """List the jobs that need this one."""
    return [row["job_id"] for row in database.rows(CHILDREN, job_id=job_id)]


def shard_counts(database: Database, job_id: int) -> dict[str, int]:
    """Count a job's shards by state."""
    return {row["state"]: int(row["n"]) for row in database.rows(SHARD_COUNTS, job_id=job_id)}


def list_shards(
    database: Database,
    job_id: int,
    *,
    state: str = "",
    after: tuple[int, int] | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Shard]:
    """List shards with their attempts: failed ones first, then leased ones.

    after: `shard_order` and number of the shard before the first
    """
    order, shard = after or (-1, -1)
    values = {"job_id": job_id, "state": state, "limit": limit, "offset": offset}
    values |= {"order": order, "shard": shard}
    with database.read() as tx:
        rows = tx.rows(SHARDS, **values)
        numbers = [row["shard_no"] for row in rows]
        attempts: dict[int, list[Attempt]] = defaultdict(list)
        for row in tx.rows(ATTEMPTS, job_id=job_id, shards=numbers):
            outcome = row["outcome"] and AttemptOutcome(row["outcome"])
            attempts[row["shard_no"]].append(_renamed(Attempt, {**row, "outcome": outcome}))
    return [_renamed(Shard, row, attempts=tuple(attempts[row["shard_no"]])) for row in rows]


def list_versions(database: Database, job_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """List the devices, each with its packages' versions as JSON, that computed the shards of jobs.

    Jobs without a finished shard are left out.
    """
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    if job_ids:
        for row in database.rows(VERSIONS, job_ids=list(job_ids)):
            found[row["job_id"]].append((row["device"], row["versions"]))
    return found


def shard_order(state: str) -> int:
    """The place of shards in this state in the order of `list_shards`."""
    return {ShardState.FAILED.value: 0, ShardState.LEASED.value: 1}.get(state, 2)


def escape_like(part: str) -> str:
    """Make a LIKE pattern (ESCAPE '!') for texts that contain `part`; '' stays ''."""
    if not part:
        return ""
    for character in "!%_":
        part = part.replace(character, "!" + character)
    return f"%{part}%"


def _renamed(kind: type[Any], row: RowMapping | dict[str, Any], **more: object) -> Any:
    """Make a dataclass from a row; `shard_no` and `owner` get their public names."""
    names = {"shard_no": "shard", "owner": "worker"}
    return kind(**{names.get(key, key): value for key, value in row.items()}, **more)


def _complete(tx: Transaction, rows: Sequence[RowMapping]) -> list[Job]:
    """Jobs with their times, rates, parents and excerpts."""
    running = [row["id"] for row in rows if row["state"] == JobState.RUNNING]
    recent: dict[int, list[tuple[float, float | None, int | None]]] = defaultdict(list)
    if running:
        since = rows[0]["now"] - RATE_WINDOW
        attempts = tx.run(RECENT_ATTEMPTS, job_ids=running, since=since)
        for job_id, started, finished, examples in attempts:
            recent[job_id].append((started, finished, examples))
    # Jobs that end store their times; earlier releases did not.
    open_ = [row["id"] for row in rows if row["started_at"] and row["elapsed_seconds"] is None]
    times = {row["job_id"]: row for row in tx.rows(TIMES, job_ids=open_)} if open_ else {}
    parents: dict[int, list[tuple[int, JobState]]] = defaultdict(list)
    for own, other, state in tx.run(PARENTS, job_ids=[row["id"] for row in rows]):
        parents[own].append((other, JobState(state)))
    jobs = [
        _timed(_job(row), times.get(row["id"]), recent_rate(recent[row["id"]], row["now"]))
        for row in rows
    ]
    inline = [job.id for job in jobs if job.spec.get("data", {}).get("inline")]
    found = tx.run(FIRST_TEXTS, job_ids=inline, length=EXCERPT).all() if inline else []
    excerpts: dict[int, str] = dict(map(tuple, found))
    return [
        replace(job, parents=tuple(parents[job.id]), excerpt=excerpts.get(job.id)) for job in jobs
    ]


def _timed(job: Job, times: RowMapping | None, recent: float | None) -> Job:
    """The job with its times, from its attempts where they are not stored, and with its rate."""
    if times is not None:
        job = replace(job, elapsed=float(times["elapsed"]), compute=float(times["compute"]))
    if job.final:
        rate = job.examples_done / job.elapsed if job.elapsed else None
        return replace(job, rate=rate or None)
    if job.state is not JobState.RUNNING or times is None or not job.leases:
        return replace(job, rate=recent)
    pieces = Pieces(
        count=int(times["pieces"]),
        examples=float(times["examples"] or 0),
        seconds=float(times["seconds"] or 0),
        squares=float(times["squares"] or 0),
    )
    left = remaining(pieces, job.examples - job.computed, job.leases)
    return replace(job, rate=recent, remaining=left)


def _job(row: RowMapping) -> Job:
    values = dict(row)
    labels = tuple(json.loads(values.pop("labels")))
    # Jobs of earlier releases do not say.
    outputs = values.pop("outputs") or outputs_of(None, len(labels))
    return Job(
        user=values.pop("user_name"),
        state=JobState(values.pop("state")),
        labels=labels,
        outputs=Outputs(outputs),
        spec=json.loads(values.pop("spec")),
        understood=Understood.from_json(read) if (read := values.pop("understood")) else None,
        examples_done=int(values.pop("examples_done")),
        examples_failed=int(values.pop("examples_failed")),
        in_progress=int(values.pop("in_progress")),
        quick=bool(values.pop("quick")),
        elapsed=values.pop("elapsed_seconds"),
        compute=values.pop("compute_seconds") or 0.0,
        **values,
    )
