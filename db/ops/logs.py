"""The log of a job in the database: written in small batches, read by pages, API and commands.

A separate thread writes it, so that neither a commit nor a lease waits for a log. Times are by the
database's clock: a process reports how long ago it logged a line, not when.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from db.reads.jobs import EXISTS, check_exists
from db.schema import job_log
from db.transaction import Transaction
from jobs.errors import UnavailableError, refuse
from jobs.processes.logs import LEVELS, SETTLE_SECONDS, Line, Pending, as_text, pending

log = structlog.get_logger()

BATCH = 500
"""Most lines per transaction and per heartbeat, which limits how fast an attempt fills the log."""
CHUNK = 2_000

LINES = """
SELECT source, line_no AS number, shard_no AS shard, fence AS attempt, at, stored_at, level,
    event, details FROM job_log
WHERE job_id = :job_id AND level >= :level AND (:shard < 0 OR shard_no = :shard)
  AND (stored_at, source, line_no) > (:stored_at, :source, :line_no) AND stored_at <= :until
ORDER BY stored_at, source, line_no LIMIT :limit
"""
NEWEST = """
SELECT source, line_no AS number, shard_no AS shard, fence AS attempt, at, stored_at, level,
    event, details FROM job_log
WHERE job_id = :job_id AND level >= :level AND (:shard < 0 OR shard_no = :shard)
  AND (stored_at, source, line_no) < (:stored_at, :source, :line_no)
ORDER BY stored_at DESC, source DESC, line_no DESC LIMIT :limit
"""
_OF_ATTEMPT = """
job_id = :job_id AND source = :source
  AND COALESCE(shard_no, -1) = :shard AND COALESCE(fence, -1) = :fence
"""
OLDEST_KEPT = f"""
SELECT line_no, at FROM job_log WHERE {_OF_ATTEMPT} ORDER BY line_no DESC LIMIT 1 OFFSET :kept
"""  # noqa: S608 - constants of this file
SHORTEN = f"DELETE FROM job_log WHERE {_OF_ATTEMPT} AND line_no <= :line_no"  # noqa: S608

_END = 1e15


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of a job's log."""

    source: str
    """The process that logged it."""
    number: int
    """Within its source, ascending."""
    shard: int | None
    attempt: int | None
    at: float
    """Time of logging, by the database's clock."""
    stored_at: float
    level: str
    event: str
    details: str

    @property
    def cursor(self) -> str:
        """Its position in the order of the log."""
        return f"{self.stored_at!r}/{self.number}/{self.source}"

    def as_text(self) -> str:
        """Format time, level, process, shard, event and details; a traceback has its own lines."""
        return as_text(vars(self))

    def as_json(self) -> dict[str, Any]:
        """Return the fields that the API sends."""
        names = ("at", "level", "source", "shard", "attempt", "event", "details")
        return {name: getattr(self, name) for name in names}


def newest_lines(
    database: Database, job_id: int, *, level: str, shard: int | None, before: str = "", limit: int
) -> list[LogLine]:
    """Return the last lines that arrived (before a cursor), in the order they were logged."""
    stored_at, number, source = _place(before, "before") if before else (_END, 0, "")
    values = {"stored_at": stored_at, "source": source, "line_no": number, "limit": limit}
    found = _read(database, NEWEST, {**_filter(job_id, level, shard), **values})
    return sorted(found, key=lambda line: (line.at, line.source, line.number))


def lines_after(
    database: Database, job_id: int, *, level: str, shard: int | None, after: str = "", limit: int
) -> list[LogLine]:
    """Return lines in order of arrival, after a cursor; without those of the last two seconds."""
    with database.read() as tx:
        until = tx.now() - SETTLE_SECONDS
    return _lines_after(database, _filter(job_id, level, shard), after, limit, until)


def lines_so_far(
    database: Database, job_id: int, *, level: str, shard: int | None, after: str = "", limit: int
) -> list[LogLine]:
    """Return the same with the newest lines, which others may still come before."""
    return _lines_after(database, _filter(job_id, level, shard), after, limit, _END)


def whole_log(
    database: Database, job_id: int, *, level: str, shard: int | None
) -> Iterator[list[LogLine]]:
    """Yield the whole log, some thousand lines at a time.

    Raises NotFoundError at the end if its job was deleted meanwhile: lines may be missing.
    """
    after, wanted = "", _filter(job_id, level, shard)
    while found := _lines_after(database, wanted, after, CHUNK, _END):
        yield found
        after = found[-1].cursor
    check_exists(database, job_id)


def _lines_after(
    database: Database, wanted: dict[str, object], after: str, limit: int, until: float
) -> list[LogLine]:
    stored_at, number, source = _place(after, "after") if after else (0.0, 0, "")
    place = {"stored_at": stored_at, "source": source, "line_no": number}
    return _read(database, LINES, {**wanted, **place, "until": until, "limit": limit})


def _filter(job_id: int, level: str, shard: int | None) -> dict[str, object]:
    return {
        "job_id": job_id,
        "level": LEVELS.get(level, 0),
        "shard": -1 if shard is None else shard,
    }


def _place(cursor: str, field: str) -> tuple[float, int, str]:
    stored_at, _, rest = cursor.partition("/")
    number, _, source = rest.partition("/")
    try:
        if not source or len(cursor) > 400 or "\0" in source:
            raise ValueError
        place = float(stored_at), int(number), source
        if not (0 <= place[0] <= _END and 0 <= place[1] < 2**63):
            raise ValueError
    except ValueError:
        remedy = "Take next_after of an earlier answer, or leave it out."
        raise refuse(field, cursor, "is not a position in this log", remedy) from None
    return place


def _read(database: Database, statement: str, values: dict[str, object]) -> list[LogLine]:
    names = {number: name for name, number in LEVELS.items()}
    rows = database.rows(statement, **values)
    return [LogLine(**{**row, "level": names.get(row["level"], "info")}) for row in rows]


class LogShipper:
    """Writes this process's lines about jobs to the database at every heartbeat, or when nudged."""

    def __init__(
        self,
        database: Database,
        source: str,
        *,
        seconds: float,
        kept: int,
        lines: Pending = pending,
    ) -> None:
        self.database = database
        self.source = source
        self.seconds = seconds
        self.kept = kept
        self.lines = lines
        self._stored: Counter[tuple[int, int, int]] = Counter()
        self._closing = threading.Event()
        self._soon = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="log shipper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def nudge(self) -> None:
        """Write soon: an attempt has started or ended."""
        self._soon.set()

    def close(self) -> None:
        """Write what is left, for a few seconds at most."""
        self._closing.set()
        self._soon.set()
        self._thread.join(timeout=5)

    def ship(self) -> None:
        """Store a batch; keep it if the database is unavailable, drop it if its job is gone."""
        batch = self.lines.take(BATCH)
        while batch:
            job_id = batch[0].job
            mine = [line for line in batch if line.job == job_id]
            try:
                with self.database.write() as tx:
                    self._store(tx, job_id, mine)
            except UnavailableError as error:
                self.lines.put_back(batch)
                if not self._away:
                    self._away = True
                    log.warning("log lines wait for the database", error=str(error))
                return
            except SQLAlchemyError as error:
                # Without the job: the line would be stored in the log that it is about.
                log.warning("log lines were refused", job=None, error=str(error)[:300])
            batch = [line for line in batch if line.job != job_id]
            self._away = False

    def _store(self, tx: Transaction, job_id: int, lines: Sequence[Line]) -> None:
        if tx.run(EXISTS, job_id=job_id).first() is None:
            return  # deleted
        now = tx.now()
        here = time.monotonic()
        rows = [
            {
                "job_id": job_id,
                "source": self.source,
                "line_no": line.number,
                "shard_no": line.shard,
                "fence": line.attempt,
                "at": now - (here - line.emitted),
                "stored_at": now,
                "level": line.level,
                "event": line.event,
                "details": line.details,
            }
            for line in lines
        ]
        tx.execute(insert(job_log), rows)
        for key, number in Counter(_attempt(line) for line in lines).items():
            self._stored[key] += number
            if self._stored[key] > self.kept:
                self._shorten(tx, key, now)
        if len(self._stored) > 1_000:
            self._stored = Counter(dict(list(self._stored.items())[-100:]))

    def _shorten(self, tx: Transaction, key: tuple[int, int, int], now: float) -> None:
        """Replace the oldest lines of an attempt by one that says how many were dropped."""
        job_id, shard, fence = key
        mine = {"job_id": job_id, "source": self.source, "shard": shard, "fence": fence}
        last = tx.run(OLDEST_KEPT, **mine, kept=self.kept).first()
        if last is None:
            return
        tx.run(SHORTEN, **mine, line_no=last.line_no)
        row = {
            "job_id": job_id,
            "source": self.source,
            "line_no": last.line_no,
            "shard_no": None if shard < 0 else shard,
            "fence": None if fence < 0 else fence,
            "at": last.at,
            "stored_at": now,
            "level": LEVELS["warning"],
            "event": "the log of this attempt is long: its oldest lines were dropped",
            "details": f"dropped={self._stored[key] - self.kept} kept={self.kept}",
        }
        tx.execute(insert(job_log), [row])

    def _run(self) -> None:
        while not self._closing.is_set():
            self._soon.wait(self.seconds)
            # Write the last line of an attempt together with the first of the next.
            self._closing.wait(0.2)
            self._soon.clear()
            self.ship()
        for _ in range(5):
            self.ship()


def _attempt(line: Line) -> tuple[int, int, int]:
    return (
        line.job,
        -1 if line.shard is None else line.shard,
        -1 if line.attempt is None else line.attempt,
    )
