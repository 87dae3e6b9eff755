"""The worker's side of the state machine: claim, heartbeat, end of an attempt.

A lease is held by (job, shard, fence). Whoever claims a shard raises its fence, so every
statement of an earlier holder touches no row.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert

from db.database import Database
from db.statements import (
    BEAT,
    CLAIM,
    END_ATTEMPT,
    ERRORS,
    HEARTBEAT,
    PLANNING_AHEAD,
    RECORD_ERROR,
    RELEASE,
)
from db.tables import attempt
from jobs.states import MAX_ERRORS, Control, backoff_seconds


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A lease on the examples lo .. hi - 1 of a job."""

    job_id: int
    shard_no: int
    fence: int
    lo: int
    hi: int

    @property
    def key(self) -> dict[str, int]:
        """What every statement needs to address this lease."""
        return {"job_id": self.job_id, "shard_no": self.shard_no, "fence": self.fence}


@dataclass(frozen=True, kw_only=True)
class WorkerIdentity:
    """Who is working: stored with every attempt."""

    name: str
    host: str
    pid: int
    queue: str
    """The queues that it serves, separated by commas."""
    device: str
    versions: str

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves, none before another."""
        return tuple(self.queue.split(","))


def claim(database: Database, who: WorkerIdentity, lease_seconds: float) -> Claim | None:
    """Lease the best ready shard of the worker's queues; None when there is none."""
    with database.write() as connection:
        row = connection.execute(
            database.sql(CLAIM).bindparams(bindparam("queues", expanding=True)),
            {"worker": who.name, "lease": lease_seconds, "queues": who.queues},
        ).first()
        if row is None:
            return None
        held = Claim(job_id=row[0], shard_no=row[1], fence=row[2], lo=row[3], hi=row[4])
        values = {
            **held.key,
            "worker": who.name,
            "device": who.device,
            "versions": who.versions,
            "started_at": database.sql("{clock}"),
        }
        connection.execute(insert(attempt).values(values))
        return held


def planning_ahead(database: Database, who: WorkerIdentity) -> bool:
    """Whether jobs of the worker's queues are about to be cut into shards."""
    statement = database.sql(PLANNING_AHEAD).bindparams(bindparam("queues", expanding=True))
    with database.read() as connection:
        return bool(connection.execute(statement, {"queues": who.queues}).scalar())


def heartbeat(
    database: Database, held: Claim, progress: int, lease_seconds: float, still: float = 0.0
) -> Control | None:
    """Renew the lease of a shard that has not moved for `still` seconds.

    Returns what the user wants now, or None when the lease is lost.
    """
    values = {**held.key, "lease": lease_seconds, "progress": progress, "still": still}
    with database.write() as connection:
        control = connection.execute(database.sql(HEARTBEAT), values).scalar()
    return None if control is None else Control(control)


def beat(
    database: Database,
    who: WorkerIdentity,
    state: str,
    held: Claim | None,
    beat_seconds: float | None = None,
    vitals: str | None = None,
) -> None:
    """Say that the worker is alive, in state idle, busy or stopped, what it holds and uses."""
    place = {"job_id": held.job_id, "shard_no": held.shard_no} if held else {}
    said = {"state": state, "beat_seconds": beat_seconds, "vitals": vitals}
    values = {**who.__dict__, **said, "job_id": None, "shard_no": None, **place}
    with database.write() as connection:
        connection.execute(database.sql(BEAT), values)


def hand_back(database: Database, held: Claim, reason: str, log_tail: str = "") -> None:
    """Return a shard unfinished: nothing is counted against it."""
    with database.write() as connection:
        released = connection.execute(database.sql(RELEASE), held.key).rowcount
        outcome = "handed-back" if released else "lost"
        end_attempt(connection, database, held, outcome=outcome, error=reason, log_tail=log_tail)


def record_error(
    database: Database, held: Claim, message: str, *, permanent: bool, log_tail: str = ""
) -> None:
    """The attempt raised: the shard waits and is tried again, or fails at its limit."""
    with database.write() as connection:
        errors = int(connection.execute(database.sql(ERRORS), held.key).scalar() or 0)
        connection.execute(
            database.sql(RECORD_ERROR),
            {
                **held.key,
                "error": message,
                "backoff": backoff_seconds(errors + 1),
                "limit": 0 if permanent else MAX_ERRORS,
            },
        )
        end_attempt(connection, database, held, outcome="error", error=message, log_tail=log_tail)


def end_attempt(
    connection: Connection,
    database: Database,
    held: Claim,
    *,
    outcome: str,
    error: str | None = None,
    examples: int | None = None,
    seconds: float | None = None,
    log_tail: str = "",
) -> None:
    """Write the end of an attempt; the first end stays."""
    connection.execute(
        database.sql(END_ATTEMPT),
        {
            **held.key,
            "outcome": outcome,
            "error": error,
            "examples": examples,
            "seconds": seconds,
            "log_tail": log_tail,
        },
    )
