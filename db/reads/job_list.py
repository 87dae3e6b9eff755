"""The list of jobs: searched, filtered, sorted, counted by facet, and read a page at a time.

Searching aside, the queries read indexes only: `ix_job_place` in the order of submission, and
`ix_job_list`, which has every column that the list filters, sorts and counts by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.database import Database
from db.queue.sql import COMPUTED, HELD
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from db.reads.status import Phase
from jobs.errors import nearest, refuse

_PHASE = """CASE
    WHEN j.control = 'pause' AND j.state IN ('queued', 'planning', 'running', 'paused')
        THEN 'paused'
    WHEN j.state = 'queued' THEN 'waiting'
    WHEN j.state = 'running' THEN CASE WHEN EXISTS (
        SELECT 1 FROM shard l WHERE l.state = 'leased' AND l.job_id = j.id)
        THEN 'executing' ELSE 'waiting' END
    ELSE j.state END"""
"""The phase of `db.reads.status`; a job that is pausing counts as paused."""

_MATCHING = f"""j.state <> 'deleting'
    AND (:state = '' OR j.state = :state) AND (:phase = '' OR {_PHASE} = :phase)
    AND (:kind = '' OR j.kind = :kind) AND (:user = '' OR j.user_name = :user)
    AND (:model = '' OR j.model_name = :model) AND (:quick < 0 OR j.quick = (:quick = 1))"""
"""Jobs that a filter asks for, apart from texts."""
_CONTAINING = """
    AND (j.id = :number OR lower(j.name) LIKE :pattern ESCAPE '!'
        OR lower(j.user_name) LIKE :pattern ESCAPE '!' OR lower(j.spec) LIKE :pattern ESCAPE '!'
        OR lower(j.error) LIKE :pattern ESCAPE '!'
        OR j.spec LIKE :inline AND EXISTS (
            SELECT 1 FROM example e WHERE e.job_id = j.id AND e.example_no = 0
                AND lower(e.text_a) LIKE :pattern ESCAPE '!'))"""
"""A text is looked for in number, name, user, specification and error, and in the first text of
jobs whose texts came with the submission."""

_PLACE = "COALESCE(j.place, j.id)"
_DONE = """CASE j.state WHEN 'succeeded' THEN 1.0 ELSE COALESCE((
    SELECT SUM(CASE s.state WHEN 'done' THEN s.hi - s.lo ELSE s.progress END) FROM shard s
    WHERE s.job_id = j.id), 0) * 1.0 / CASE j.examples WHEN 0 THEN 1 ELSE j.examples END END"""
_COMPUTE = f"""COALESCE(j.compute_seconds, CASE WHEN j.started_at IS NULL THEN 0.0 ELSE (
    SELECT {COMPUTED} FROM ({HELD} WHERE a.job_id = j.id) h) END)"""  # noqa: S608 - constants
_NAME = """lower(CASE j.name WHEN '' THEN j.model_name || ' on ' || j.data_name ELSE j.name END)"""
_ORDER_OF_STATES = """CASE j.state WHEN 'queued' THEN 0 WHEN 'planning' THEN 1 WHEN 'running' THEN 2
    WHEN 'paused' THEN 3 WHEN 'stopping' THEN 4 WHEN 'finalizing' THEN 5 WHEN 'cancelling' THEN 6
    WHEN 'failed' THEN 7 WHEN 'cancelled' THEN 8 ELSE 9 END"""
SORTS = {
    "submitted": _PLACE,
    "name": _NAME,
    "kind": "j.kind",
    "model": "lower(j.model_name)",
    "data": "lower(j.data_name)",
    "user": "j.user_name",
    "state": _ORDER_OF_STATES,
    "progress": _DONE,
    "compute": _COMPUTE,
    # What has not ended ends later than the others.
    "ended": "COALESCE(j.finished_at, 9e15)",
}
"""Columns that the list can be sorted by. In the order of submission, jobs of a study stand
together at the place of the newest one."""
TEXTS = ("name", "kind", "model", "data", "user")
"""Those of them that are texts; the others are numbers."""

STUDIES = """
SELECT t.job_id, s.id, s.name FROM study_step t JOIN study s ON s.id = t.study_id
WHERE t.job_id IN :jobs ORDER BY s.id DESC
"""
MOST_STEPS = 100
"""Jobs of a study; a page holds the last one's whole."""


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """The jobs to list; empty values are every one."""

    state: str = ""
    phase: str = ""
    kind: str = ""
    user: str = ""
    model: str = ""
    """See `jobs.titles.model_name`."""
    quick: bool | None = None
    """True for quick jobs alone, False for the others."""
    contains: str = ""

    @property
    def condition(self) -> str:
        """The condition of a statement; texts are read where one is looked for only."""
        return _MATCHING + _CONTAINING if self.contains else _MATCHING

    def values(self) -> dict[str, Any]:
        """The values of the condition's names."""
        names = ("state", "phase", "kind", "user", "model")
        found = {name: getattr(self, name) for name in names}
        found["quick"] = -1 if self.quick is None else int(self.quick)
        if self.contains:
            number = self.contains.removeprefix("#")
            found["number"] = int(number) if number.isdecimal() and len(number) < 10 else 0
            found["pattern"] = job_reads.escape_like(self.contains.lower())
            found["inline"] = job_reads.INLINE
        return found


EVERY = JobFilter()


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of the list."""

    by: str = "submitted"
    descending: bool = True

    @classmethod
    def parse(cls, text: str) -> Order:
        """An order as addresses have it: `name`, or `-name` for descending. Raises InputError."""
        if not text:
            return NEWEST
        by = text.removeprefix("-")
        if by not in SORTS:
            raise refuse("sort", text, "is not a column to sort by", nearest(by, SORTS))
        return cls(by=by, descending=text.startswith("-"))

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.by}"


NEWEST = Order()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A job's place in a sorted list."""

    job: int
    value: str | float
    """The column that the list is sorted by."""
    group: int = 0
    """Equal for jobs of a study."""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The place after which, or before which, a page begins."""

    job: int
    value: str | float
    backwards: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of the list."""

    places: tuple[Place, ...]
    before: bool
    """True if there are jobs before it."""
    after: bool

    @property
    def jobs(self) -> list[int]:
        """The numbers of its jobs."""
        return [place.job for place in self.places]


@dataclass(frozen=True, kw_only=True)
class Facets:
    """The number of jobs by phase, kind, user and model.

    Each counts those that the other choices leave, so that it says what a choice would show.
    """

    phase: dict[str, int]
    kind: dict[str, int]
    user: dict[str, int]
    model: dict[str, int]
    quick: int
    """Quick jobs, whatever else is chosen."""
    others: int
    total: int
    """Jobs that all choices leave."""


@dataclass(frozen=True, kw_only=True)
class StudyOfJob:
    """The study that a job was submitted with."""

    id: int
    name: str


def list_page(
    database: Database,
    wanted: JobFilter = EVERY,
    order: Order = NEWEST,
    cursor: Cursor | None = None,
    limit: int = 50,
) -> Listing:
    """List the jobs at a cursor; a study is not divided between pages."""
    found = list_places(database, wanted, order, cursor, limit + MOST_STEPS + 1)
    shown = min(limit, len(found))
    if order.by == "submitted":
        while 0 < shown < len(found) and found[shown].group == found[shown - 1].group:
            shown += 1
    more, taken = len(found) > shown, found[:shown]
    if cursor is not None and cursor.backwards:
        return Listing(places=tuple(reversed(taken)), before=more, after=True)
    return Listing(places=tuple(taken), before=cursor is not None, after=more)


def list_jobs(database: Database, wanted: JobFilter = EVERY, *, limit: int = 50) -> list[Job]:
    """List jobs, newest first, with their rates."""
    places = list_places(database, wanted, NEWEST, None, limit)
    return job_reads.get_jobs(database, [place.job for place in places])


def read_facets(database: Database, wanted: JobFilter = EVERY) -> Facets:
    """Count the jobs that a filter leaves, by what else can be chosen."""
    every = JobFilter(state=wanted.state, contains=wanted.contains)
    query = f"""
        SELECT {_PHASE} AS phase, j.kind, j.user_name AS "user", j.model_name AS model, j.quick,
            COUNT(*) AS n
        FROM job j WHERE {every.condition} GROUP BY 1, 2, 3, 4, 5
    """  # noqa: S608 - constants of this file
    counts = {name: Counter[str]() for name in ("phase", "kind", "user", "model")}
    quick, others, total = 0, 0, 0
    for row in database.rows(query, **every.values()):
        n = int(row["n"])
        quick, others = (quick + n, others) if row["quick"] else (quick, others + n)
        if wanted.quick is not None and bool(row["quick"]) != wanted.quick:
            continue
        misses = [name for name in counts if getattr(wanted, name) not in ("", row[name])]
        total += 0 if misses else n
        for name, counted in counts.items():
            if not misses or misses == [name]:
                counted[row[name]] += n
    phases = {phase.value: counts["phase"][phase.value] for phase in Phase}
    return Facets(
        phase={phase: n for phase, n in phases.items() if n or phase == wanted.phase},
        **{name: _sorted(counts[name]) for name in ("kind", "user", "model")},
        quick=quick,
        others=others,
        total=total,
    )


def studies_of(database: Database, job_ids: Sequence[int]) -> dict[int, StudyOfJob]:
    """The study that each job was submitted with, by the job's number."""
    rows = database.rows(STUDIES, jobs=list(job_ids)) if job_ids else []
    # The oldest one comes last: later ones have taken the job's results.
    return {row["job_id"]: StudyOfJob(id=row["id"], name=row["name"]) for row in rows}


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def list_places(
    database: Database,
    wanted: JobFilter,
    order: Order,
    cursor: Cursor | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Place]:
    """List the places of jobs from a cursor on, the nearest first."""
    expression = SORTS[order.by]
    down = order.descending != (cursor is not None and cursor.backwards)
    way, beyond = ("DESC", "<") if down else ("ASC", ">")
    after = f"AND ({expression}, j.id) {beyond} (:value, :job)" if cursor else ""
    query = f"""
        SELECT j.id, {_PLACE} AS place, {expression} AS value FROM job j
        WHERE {wanted.condition} {after}
        ORDER BY {expression} {way}, j.id {way} LIMIT :limit OFFSET :offset
    """  # noqa: S608 - constants of this file
    values = {**wanted.values(), "limit": limit, "offset": offset}
    if cursor:
        values |= {"value": cursor.value, "job": cursor.job}
    return [
        Place(job=row["id"], value=_plain(row["value"]), group=row["place"])
        for row in database.rows(query, **values)
    ]


def _plain(value: Any) -> str | float:
    """A value that JSON has: PostgreSQL's numeric is a Decimal."""
    return value if isinstance(value, str) else float(value)
