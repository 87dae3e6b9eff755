"""Recipients of notifications, and the notifications that are due.

A notification is a row: it is written once for each event and recipient, taken by one scheduler at
a time, and tried again until it was delivered or given up.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from db import schema
from db.database import WRITTEN_BY_ANOTHER, Database
from db.queue import new_jobs
from db.queue.sql import FINAL
from db.reads.jobs import INLINE
from jobs.errors import ConflictError, NotFoundError, nearest, refuse
from jobs.notifications import LONG_SECONDS, JobEvents, NewRecipient, told_of
from jobs.people import fold

TAKEN_SECONDS = 120.0
"""Time that a scheduler has to deliver what it took; then another tries."""
MAX_TRIES = 9
"""Given up after about six hours."""
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 7_200.0
_WINDOW = 7 * 86_400.0
"""Age of the oldest end of a job that is still told: schedulers may have been away."""
LASTING_SECONDS = 60.0
"""Time for which something is wrong before operators are told: short faults mend themselves."""
OVER_SECONDS = 180.0
"""Time without a fault after which it is over."""
KEPT_SECONDS = 30 * 86_400.0
"""Time for which delivered notifications are listed."""

_WANTED = f"""(r.jobs = '{JobEvents.ALL}' OR r.jobs = '{JobEvents.FAILED}' AND failed
    OR r.jobs = '{JobEvents.LONG}' AND (failed OR seconds > {LONG_SECONDS}))"""

_TOLD = """(SELECT * FROM recipient o WHERE NOT EXISTS
    (SELECT 1 FROM account a WHERE a.folded = o.user_name AND a.disabled))"""
"""Recipients who are told anything: those of a disabled account are not."""

_ENDED_JOBS = f"""
SELECT r.id AS recipient_id, 'job:' || j.id AS event
FROM (SELECT id, user_name, finished_at, spec, examples, state = 'failed' AS failed,
        finished_at - COALESCE(started_at, finished_at) AS seconds
      FROM job WHERE finished_at > {{clock}} - {_WINDOW} AND state IN {FINAL}) j
CROSS JOIN {_TOLD} r
WHERE EXISTS (SELECT 1 FROM job_recipient a WHERE a.job_id = j.id AND a.recipient_id = r.id)
   OR r.user_name IN ('', j.user_name) AND j.finished_at > r.created_at AND {_WANTED}
      AND NOT EXISTS (SELECT 1 FROM study_step t WHERE t.job_id = j.id)
      AND NOT (j.examples = 1 AND j.spec LIKE :inline)
"""  # noqa: S608 - constants of this file
"""Jobs that have ended, and whom that is told. A job of a study is told as the study; quick jobs
are watched by who asked for them."""

_ENDED_STUDIES = f"""
SELECT r.id AS recipient_id, 'study:' || s.id AS event
FROM (SELECT s.id, s.user_name, MAX(j.finished_at) AS finished_at,
        MAX(CASE WHEN j.state = 'failed' THEN 1 ELSE 0 END) = 1 AS failed,
        MAX(j.finished_at) - s.created_at AS seconds
      FROM study s JOIN study_step t ON t.study_id = s.id JOIN job j ON j.id = t.job_id
      WHERE s.id IN (SELECT u.study_id FROM job e JOIN study_step u ON u.job_id = e.id
        WHERE e.finished_at > {{clock}} - {_WINDOW})
      GROUP BY s.id, s.user_name, s.created_at
      HAVING COUNT(*) = SUM(CASE WHEN j.state IN {FINAL} THEN 1 ELSE 0 END)
        AND MAX(j.finished_at) > {{clock}} - {_WINDOW}) s
CROSS JOIN {_TOLD} r
WHERE r.user_name IN ('', s.user_name) AND s.finished_at > r.created_at AND {_WANTED}
"""  # noqa: S608 - constants of this file
"""Studies that have ended. This is asked every two seconds: it begins with the jobs that ended of
late, by their index, and not with every study there is."""

_NEW = f"""
SELECT e.recipient_id, e.event FROM ({_ENDED_JOBS} UNION ALL {_ENDED_STUDIES}) e
WHERE NOT EXISTS (SELECT 1 FROM notification n
    WHERE n.recipient_id = e.recipient_id AND n.event = e.event)
"""  # noqa: S608 - constants of this file

_WRITE = """
INSERT INTO notification (recipient_id, event, message, state, tries, due_at, created_at)
SELECT r.id, :event, :message, 'waiting', 0, {clock}, {clock}
FROM recipient r WHERE r.id = :recipient_id
ON CONFLICT (recipient_id, event) DO NOTHING
"""

_SEE = """
INSERT INTO open_condition (subject, message, since, seen_at)
VALUES (:subject, :message, {clock}, {clock})
ON CONFLICT (subject) DO UPDATE SET message = excluded.message, seen_at = excluded.seen_at
"""
_CONDITIONS = f"""
SELECT c.subject, c.message, c.since, c.over, c.event,
    EXISTS (SELECT 1 FROM notification n WHERE n.event = c.event) AS told
FROM (SELECT subject, message, since, seen_at < {{clock}} - {OVER_SECONDS} AS over,
        'condition:' || subject || ':' || CAST(since AS BIGINT) AS event
      FROM open_condition
      WHERE seen_at - since >= {LASTING_SECONDS} OR seen_at < {{clock}} - {OVER_SECONDS}) c
"""  # noqa: S608 - constants of this file
"""The event is made here alone: databases and Python round differently."""
_TOLD_CONDITIONS = f"SELECT r.id FROM {_TOLD} r WHERE r.conditions ORDER BY r.id"  # noqa: S608
_END = "DELETE FROM open_condition WHERE subject = :subject AND since = :since"

_DUE = "SELECT EXISTS (SELECT 1 FROM notification WHERE state = 'waiting' AND due_at <= {clock})"

_TAKE = """
UPDATE notification SET tries = tries + 1, due_at = {clock} + :taken
WHERE id IN (SELECT id FROM notification WHERE state = 'waiting' AND due_at <= {clock}
    ORDER BY due_at, id LIMIT :most {for_update_skip_locked})
RETURNING id, recipient_id, event, message, tries, created_at
"""

_DELIVERED = """
UPDATE notification SET state = 'sent', ended_at = {clock}, error = NULL
WHERE id = :id AND tries = :tries AND state = 'waiting'
"""
_FAILED = """
UPDATE notification SET state = 'failed', ended_at = {clock}, error = :error
WHERE id = :id AND tries = :tries AND state = 'waiting'
"""
_LATER = """
UPDATE notification SET due_at = {clock} + :wait, error = :error
WHERE id = :id AND tries = :tries AND state = 'waiting'
"""
_FORGET = """
DELETE FROM notification WHERE state <> 'waiting' AND ended_at < {clock} - :age
  AND created_at < {clock} - :age
"""
_LIST = """
SELECT n.id, n.event, n.message, n.state, n.tries, n.due_at, n.error, n.created_at, n.ended_at,
    r.name AS recipient, {clock} AS now
FROM notification n JOIN recipient r ON r.id = n.recipient_id
WHERE (:user = '' OR r.user_name = :user) AND n.id < :before ORDER BY n.id DESC LIMIT :limit
"""
_PAST_ALL = 2**31 - 1
"""No row has a greater number."""
_ENDED_SINCE = f"""
SELECT id, name, kind, state, finished_at FROM job
WHERE finished_at > :after AND state IN {FINAL} AND (:user = '' OR user_name = :user)
ORDER BY finished_at LIMIT 20
"""  # noqa: S608 - constants of this file


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """An address that notifications go to, without its secrets."""

    id: int
    user_name: str
    """Whose jobs it is told of; empty for everyone's."""
    name: str
    shown: str
    """The address without its secrets."""
    service: str
    jobs: JobEvents
    conditions: bool
    created_at: float


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A notification that this process has taken, with where it goes."""

    id: int
    event: str
    message: str | None
    tries: int
    created_at: float
    recipient_id: int
    address: str
    secret: str | None


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A notification and what became of it."""

    id: int
    event: str
    message: str | None
    state: str
    """waiting, sent or failed."""
    tries: int
    due_at: float
    error: str | None
    created_at: float
    ended_at: float | None
    recipient: str
    now: float


@dataclass(frozen=True, kw_only=True)
class EndedJob:
    """A job that has ended, for the notifications of a browser."""

    id: int
    name: str
    kind: str
    state: str
    finished_at: float


def add(database: Database, new: NewRecipient, user: str, service: str, shown: str) -> Recipient:
    """Store a recipient, with a new secret if it is a webhook. Raises ConflictError."""
    row = {
        "user_name": fold(user),
        "name": new.name,
        "address": new.address,
        "shown": shown,
        "service": service,
        "secret": _new_secret() if new.is_webhook else None,
        "jobs": new.jobs.value,
        "conditions": new.conditions,
    }
    try:
        with database.write() as tx:
            tx.execute(insert(schema.recipient).values({**row, "created_at": tx.clock}))
    except WRITTEN_BY_ANOTHER:
        raise ConflictError(f"There is a recipient named {new.name!r} already.") from None
    return next(one for one in find(database, fold(user)) if one.name == new.name)


def _new_secret() -> str:
    """A key in the form of the Standard Webhooks specification."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def find(database: Database, user: str = "") -> list[Recipient]:
    """List the recipients of a user, or of everyone; the oldest first."""
    r = schema.recipient
    query = select(*(c for c in r.c if c.name not in ("address", "secret"))).order_by(r.c.id)
    if user:
        query = query.where(r.c.user_name == user)
    with database.read() as tx:
        rows = tx.execute(query).mappings().all()
    return [Recipient(**{**row, "jobs": JobEvents(row["jobs"])}) for row in rows]


def by_name(database: Database, names: Sequence[str], user: str) -> list[int]:
    """The numbers of recipients of a user, or of everyone. Raises InputError for unknown names."""
    known = {one.name: one.id for one in find(database) if one.user_name in ("", user)}
    unknown = [name for name in names if name not in known]
    if unknown:
        remedy = nearest(unknown[0], known) if known else "`headwise notify add` adds one."
        raise refuse("notify", unknown[0], "is not a recipient", remedy)
    return [known[name] for name in names]


def get(database: Database, number: int) -> Recipient:
    """Get one recipient. Raises NotFoundError."""
    for one in find(database):
        if one.id == number:
            return one
    raise NotFoundError(f"There is no recipient {number}.")


def secret(database: Database, number: int) -> str | None:
    """Read the secret that a webhook's receiver checks signatures with."""
    r = schema.recipient.c
    with database.read() as tx:
        found: str | None = tx.execute(select(r.secret).where(r.id == number)).scalar()
    return found


def remove(database: Database, number: int) -> None:
    """Remove a recipient and its notifications. Raises NotFoundError."""
    r = schema.recipient
    with database.write() as tx:
        if not tx.execute(delete(r).where(r.c.id == number)).rowcount:
            raise NotFoundError(f"There is no recipient {number}.")


def tell(database: Database, job_id: int, recipient: int, *, told: bool) -> None:
    """Have a recipient told when a job ends, or not any more. Raises NotFoundError."""
    asked = schema.job_recipient
    get(database, recipient)
    with database.write() as tx:
        if told:
            new_jobs.tell(tx, job_id, [recipient])
        else:
            mine = (asked.c.job_id == job_id) & (asked.c.recipient_id == recipient)
            tx.execute(delete(asked).where(mine))


def told_of_job(database: Database, job_id: int) -> set[int]:
    """The recipients that were asked for a job."""
    asked = schema.job_recipient.c
    with database.read() as tx:
        query = select(asked.recipient_id).where(asked.job_id == job_id)
        return set(tx.execute(query).scalars())


def write_ended(database: Database) -> int:
    """Write the notifications of jobs and studies that have ended; returns their number."""
    if not database.value("SELECT EXISTS (SELECT 1 FROM recipient)"):
        return 0
    new = [{**row, "message": None} for row in database.rows(_NEW, inline=INLINE)]
    if new:
        with database.write() as tx:
            tx.run_each(_WRITE, new)
    return len(new)


def write(database: Database, recipients: Sequence[int], event: str, message: str) -> None:
    """Write a notification with its message; an event that was written before is left alone."""
    rows = [{"recipient_id": one, "event": event, "message": message} for one in recipients]
    if rows:
        with database.write() as tx:
            tx.run_each(_WRITE, rows)


def write_test(database: Database, one: Recipient) -> None:
    """Write a test for a recipient."""
    message = f"This is a test: {one.name} will be notified of {told_of(one.jobs, one.conditions)}."
    write(database, [one.id], f"test:{time.time():.3f}", message)


def wants_conditions(database: Database) -> bool:
    """True if a recipient is told of problems of the installation."""
    return bool(database.rows(_TOLD_CONDITIONS))


def tell_conditions(database: Database, wrong: Mapping[str, str], dead: Mapping[str, str]) -> None:
    """Write notifications about what is wrong for a while, and about what is so no more.

    wrong: a message about each thing that is wrong now
    dead: a message about each worker that died, by name

    Any number of schedulers may call this.
    """
    told = [row["id"] for row in database.rows(_TOLD_CONDITIONS)]
    if not told:
        return
    with database.write() as tx:
        if wrong:
            seen = [{"subject": what, "message": message} for what, message in wrong.items()]
            tx.run_each(_SEE, seen)
        events = {f"condition:worker {name}": message for name, message in dead.items()}
        for row in tx.rows(_CONDITIONS):
            event, message = row["event"], row["message"]
            if row["over"]:
                tx.run(_END, subject=row["subject"], since=row["since"])
                event, message = f"{event}:over", f"Resolved: {message}"
            if not row["over"] or row["told"]:
                events[event] = message
        written = [
            {"recipient_id": one, "event": event, "message": message}
            for one in told
            for event, message in events.items()
        ]
        if written:
            tx.run_each(_WRITE, written)


def take(database: Database, most: int) -> list[Delivery]:
    """Take notifications that are due; other schedulers leave them for TAKEN_SECONDS."""
    if not database.value(_DUE):
        return []
    r = schema.recipient.c
    with database.write() as tx:
        taken = [dict(row) for row in tx.rows(_TAKE, most=most, taken=TAKEN_SECONDS)]
        numbers = {row["recipient_id"] for row in taken}
        query = select(r.id, r.address, r.secret).where(r.id.in_(numbers))
        places: Mapping[int, tuple[str, str | None]] = {
            row.id: (row.address, row.secret) for row in tx.execute(query)
        }
    return [
        Delivery(
            **row, address=places[row["recipient_id"]][0], secret=places[row["recipient_id"]][1]
        )
        for row in taken
    ]


def delivered(database: Database, one: Delivery) -> None:
    """Record that a notification was delivered."""
    with database.write() as tx:
        tx.run(_DELIVERED, id=one.id, tries=one.tries)


def not_delivered(database: Database, one: Delivery, error: str, *, final: bool) -> float | None:
    """Record an error; returns the seconds until the next try, None if there is none."""
    with database.write() as tx:
        if final or one.tries >= MAX_TRIES:
            tx.run(_FAILED, id=one.id, tries=one.tries, error=error)
            return None
        wait: float = min(_FIRST_WAIT * 3 ** (one.tries - 1), _LONGEST_WAIT)
        tx.run(_LATER, id=one.id, tries=one.tries, error=error, wait=wait)
        return wait


def list_notifications(
    database: Database, user: str = "", limit: int = 50, *, before: int | None = None
) -> list[Notification]:
    """List notifications, the newest first.

    before: number of the one before the first
    """
    start = _PAST_ALL if before is None else before
    found = database.rows(_LIST, user=user, limit=limit, before=start)
    return [Notification(**row) for row in found]


def ended_since(database: Database, after: float, user: str = "") -> list[EndedJob]:
    """List the jobs that ended after a time, the first of them first."""
    return [EndedJob(**row) for row in database.rows(_ENDED_SINCE, after=after, user=user)]


def forget(database: Database) -> None:
    """Delete notifications that ended long ago; those of the window stay, as proof of delivery."""
    with database.write() as tx:
        tx.run(_FORGET, age=KEPT_SECONDS)
