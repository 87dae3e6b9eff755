"""The scheduler's side of the state machine: expire leases, dispatch, finish, and users' requests.

Any number of schedulers may run these functions at once: a statement changes a row only from the
state it expects, so the second of two does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import func, select, update

from db import schema
from db.database import SESSION_NAME, Database
from db.kinds import KINDS
from db.ops import deletion
from db.queue import recovery
from db.queue.attempts import end_attempt
from db.queue.splitting import LeasedShard, lock
from db.queue.sql import (
    CANCEL,
    CANCEL_CHILDREN,
    CANCEL_READY,
    CANCELLED,
    COMPLETE,
    DISPATCHED,
    EXPIRED,
    FAIL_CHILDREN,
    FINISH_LATER,
    FINISHED,
    FINISHING,
    HELD_BY_THE_DEAD,
    HELD_BY_THE_SILENT,
    HOLD_FINISHING,
    OVERDUE,
    PAUSE,
    PLAN_LATER,
    PLAN_TRIES,
    PLANNING_FAILED,
    RESUME,
    TO_FINISH,
    TOO_LATE,
    WAITING,
    WAITING_CHILD,
    WAITS_FROM_NOW,
    WORK,
)
from db.results import digest, late_blocks
from db.results.job_results import JobResults, replace_rows
from db.transaction import Transaction
from headwise.models.labels import Outputs
from jobs.errors import ConflictError, NotFoundError, UnavailableError
from jobs.inputs.data.understood import Understood, chance_warning
from jobs.outcome import AttemptEnd, AttemptOutcome
from jobs.processes.logs import contained
from jobs.scheduling.plan import Lease
from jobs.states import FINAL_JOB_STATES, JobState, ShardState

log = structlog.get_logger()

FINISH_LOCK = 7232
"""With a job's number: the lock of the scheduler that merges its shards."""

CONTROLS = {"pause": PAUSE, "resume": RESUME, "cancel": CANCEL}


@dataclass(frozen=True, kw_only=True)
class Work:
    """The steps for which there is something to do."""

    plan: bool
    expire: bool
    sweep: bool
    finish: bool
    empty: bool
    recur: bool


def pending_work(database: Database) -> Work:
    """Find out what there is to do, without writing."""
    [row] = database.rows(WORK)
    return Work(**{name: bool(value) for name, value in row.items()})


def expire_leases(database: Database) -> list[LeasedShard]:
    """Take shards back from workers that have been silent for a whole lease."""
    expired = []
    with database.write() as tx:
        for row in tx.rows(EXPIRED):
            values = dict(row)
            owner = values.pop("owner")
            shard = LeasedShard(**values)
            error = f"the lease expired: worker {owner} was silent, killed or stuck"
            _lose(tx, shard, error)
            expired.append(shard)
    return expired


def end_sessions_of_the_dead(database: Database, silence: float) -> list[str]:
    """End the sessions of processes that were not seen for `silence` seconds: those in the middle
    of a transaction, and those that hold an expired shard.

    Their transactions are rolled back, so that nobody waits for them. Returns the processes'
    names; always empty on SQLite, where a lock ends with its process.
    """
    if database.dialect == "sqlite":
        return []
    with database.write() as tx:
        held = tx.run(HELD_BY_THE_DEAD, silence=silence).all()
        idle = tx.run(HELD_BY_THE_SILENT, silence=silence, length=SESSION_NAME).all()
        owners = {row.pid: row.owner for row in (*held, *idle)}
        for pid in owners:
            tx.run("SELECT pg_terminate_backend(:pid)", pid=pid)
    return list(owners.values())


def take_back(database: Database, held: Lease, reason: str) -> bool:
    """End a lease as if it had expired; False if it has ended anyway, or a commit holds it."""
    with database.write() as tx:
        shard = lock(tx, held.key, wait=False)
        if shard is None:
            return False
        _lose(tx, shard, reason)
    return True


def _lose(tx: Transaction, shard: LeasedShard, error: str) -> None:
    recovery.count_loss(tx, shard, error)
    end_attempt(tx, shard.key, AttemptEnd(outcome=AttemptOutcome.LOST, error=error))


@dataclass(frozen=True, kw_only=True)
class WaitingShard:
    """A ready shard that no worker was woken for."""

    job_id: int
    shard_no: int
    queue: str
    blocks: int
    """Workers that could share it."""


def waiting_shards(database: Database, again: float, limit: int) -> list[WaitingShard]:
    """List ready shards without a wake-up in the last `again` seconds."""
    rows = database.rows(WAITING, again=again, limit=limit)
    return [WaitingShard(**row) for row in rows]


def mark_dispatched(database: Database, shards: Sequence[WaitingShard]) -> None:
    """Record that workers were woken for these shards."""
    keys = [{"job_id": shard.job_id, "shard_no": shard.shard_no} for shard in shards]
    with database.write() as tx:
        tx.run_each(DISPATCHED, keys)


def sweep_jobs(database: Database) -> None:
    """Move jobs to their next state: overdue, cancelled, failed with a parent, or finalizing."""
    with database.write() as tx:
        tx.run(TOO_LATE)
        tx.run(OVERDUE)
    late_blocks.store(database)
    with database.write() as tx:
        tx.run(CANCEL_READY)
        tx.run(CANCELLED)
        while tx.run(FAIL_CHILDREN).rowcount:
            pass
        tx.run(COMPLETE)


def finish_jobs(database: Database) -> list[int]:
    """Merge the shards of finalizing jobs into their results, and end the jobs.

    Each has transactions of its own, so that an error affects only its job; see `put_off`.
    """
    finished = []
    for job_id in [int(row["id"]) for row in database.rows(TO_FINISH)]:
        try:
            if not _finish(database, job_id):
                continue
            finished.append(job_id)
            with contained("removing sums", job=job_id):
                deletion.end_run(database, job_id)
        except UnavailableError:
            raise
        except Exception as error:
            log.error("finishing raised", job=job_id, exc_info=True)
            put_off(database, job_id, "finishing", error)
    return finished


@dataclass(frozen=True, kw_only=True)
class _End:
    """The end of a job, as it will be written."""

    results: JobResults | None
    """None if nothing was computed."""
    error: str | None
    warning: str | None


def _finish(database: Database, job_id: int) -> bool:
    """Finish a job: merging takes seconds, so only what it gives is written in a transaction.

    Any number of schedulers may do it at once: the first one to write ends the job.
    """
    with database.read() as tx:
        tx.keep_snapshot()
        end = _read_end(tx, job_id) if tx.try_lock(FINISH_LOCK, job_id) else None
    if end is None or not _write_end(database, job_id, end):
        return False
    if end.warning:
        log.warning("accuracy at or below chance", job=job_id, warning=end.warning)
    return True


def _read_end(tx: Transaction, job_id: int) -> _End | None:
    """Compute a job's end; None if it is not to be finished any more."""
    job = tx.run(FINISHING, job_id=job_id).first()
    if job is None:
        return None
    results = KINDS[job.kind].finish(tx, job_id)
    return _End(
        results=results,
        error=_failures(tx, job_id, job.deadline_at, computed=results is not None),
        warning=None if results is None else _chance_warning(tx, job_id, job, results),
    )


def _write_end(database: Database, job_id: int, end: _End) -> bool:
    """End a job; False, and nothing is written, if it has ended or was cancelled meanwhile."""
    state = JobState.FAILED if end.error else JobState.SUCCEEDED
    result_hash = end.results.result_hash if end.results else None
    found = {"error": end.error, "warning": end.warning, "result_hash": result_hash}
    with database.write() as tx:
        if tx.run(HOLD_FINISHING, job_id=job_id).first() is None:
            return False
        if end.results:
            replace_rows(tx, job_id, end.results.rows)
        tx.run(FINISHED, job_id=job_id, state=state.value, **found)
        tx.announce()  # others may have waited for it
    return True


def _chance_warning(tx: Transaction, job_id: int, job: Any, results: JobResults) -> str | None:
    """Return the warning about a job's accuracy, of kinds that store predictions."""
    if job.outputs not in (None, Outputs.CLASSES):
        return None
    counted = results.rows.get(schema.confusion)
    if counted is None:
        confusion, _ = digest.confusion(tx, job_id, job.examples)
    else:
        confusion = digest.label_counts(counted)
    understood = Understood.from_json(job.understood) if job.understood else None
    return chance_warning(confusion, len(json.loads(job.labels)), understood)


def put_off(database: Database, job_id: int, step: str, error: Exception) -> None:
    """Record an error of planning or finishing a job: it is tried again later, or fails.

    step: `planning` or `finishing`
    """
    message = f"{step} raised {type(error).__name__}: {error}"[:2_000]
    with database.write() as tx:
        tries = int(tx.run(PLAN_TRIES, job_id=job_id).scalar() or 0) + 1
        if tries < recovery.MAX_ERRORS:
            later = PLAN_LATER if step == "planning" else FINISH_LATER
            backoff = recovery.backoff_seconds(tries)
            tx.run(later, job_id=job_id, tries=tries, backoff=backoff, error=message)
            return
        message += f". Given up after {tries} tries."
        if step == "planning":
            tx.run(PLANNING_FAILED, job_id=job_id, error=message)
        else:
            state = JobState.FAILED.value
            found = {"error": message, "warning": None, "result_hash": None}
            tx.run(FINISHED, job_id=job_id, state=state, **found)


def change_job(database: Database, job_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of a job that users may change: priority and days to keep it.

    Raises NotFoundError, or ConflictError for the priority of a job that has ended.
    """
    j = schema.job.c
    with database.write() as tx:
        query = select(j.state).where((j.id == job_id) & (j.state != JobState.DELETING))
        state = tx.execute(query).scalar()
        if state is None:
            raise NotFoundError(f"There is no job {job_id}.")
        if "priority" in values and state in FINAL_JOB_STATES:
            raise ConflictError(f"Job {job_id} is {state}: its priority can no longer change.")
        tx.execute(update(schema.job).where(j.id == job_id).values(**values))
        if "priority" in values:
            tx.run(WAITS_FROM_NOW, job_id=job_id)


def control(tx: Transaction, job_id: int, action: str) -> bool:
    """Pause, resume or cancel a job; returns False if its state does not allow that."""
    if not tx.run(CONTROLS[action], job_id=job_id).rowcount:
        return False
    if action == "cancel":
        tx.run(CANCEL_CHILDREN, job_id=job_id)
    elif action == "resume":
        tx.run(WAITS_FROM_NOW, job_id=job_id)
    return True


def set_control(database: Database, job_id: int, action: str) -> None:
    """Pause, resume, cancel or delete a job.

    Raises NotFoundError for an unknown job, ConflictError if its state does not allow that.
    """
    with database.write() as tx:
        query = select(schema.job.c.state).where(schema.job.c.id == job_id)
        state = tx.execute(query).scalar()
        if state in (None, JobState.DELETING):
            raise NotFoundError(f"There is no job {job_id}.")
        if action == "delete":
            if state not in FINAL_JOB_STATES:
                raise ConflictError(f"Job {job_id} is {state}: cancel it before deleting it.")
            child = tx.run(WAITING_CHILD, job_id=job_id).scalar()
            if child is not None:
                raise ConflictError(f"Job {child} needs job {job_id} and is not finished.")
            deletion.mark(tx, job_id)
        elif not control(tx, job_id, action):
            raise ConflictError(f"Job {job_id} is {state}: {action} is not possible now.")
        tx.announce()
    if action == "delete":
        # A job of usual size is removed at once; a scheduler continues with larger ones.
        deletion.empty_jobs(database, seconds=1.0)


def _failures(
    tx: Transaction, job_id: int, deadline: float | None, *, computed: bool
) -> str | None:
    """Return why a job did not succeed: failed or stopped shards, or no good example."""
    s = schema.shard.c
    query = select(s.shard_no, s.error).where(s.job_id == job_id)
    examples = select(func.sum(s.hi - s.lo)).where(s.job_id == job_id)
    if missing := tx.execute(examples.where(s.state == ShardState.CANCELLED)).scalar():
        whole = tx.execute(examples).scalar()
        when = datetime.fromtimestamp(deadline or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return (
            f"the deadline, {when}, passed: the results are partial, {missing:,} of {whole:,} "
            "examples are missing. Submit it again with a later deadline"
        )
    failed = tx.execute(query.where(s.state == ShardState.FAILED).order_by(s.shard_no)).all()
    if failed:
        total = len(tx.execute(query).all())
        first = f"shard {failed[0].shard_no}: {failed[0].error}"
        return f"{len(failed)} of {total} shards failed; the results leave them out. {first}"
    return None if computed else "every example failed; see the examples' errors"
