"""The list of jobs: what its address asks for, its rows in groups, and addresses from there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from flask import g, request, url_for

from db.reads import job_list
from db.reads import jobs as job_reads
from db.reads.job_list import TEXTS, Cursor, Facets, JobFilter, Listing, Order, Place, StudyOfJob
from db.reads.jobs import Job
from db.reads.status import Phase, Status
from jobs.errors import nearest, refuse
from jobs.kinds import NAMES
from jobs.people import fold
from jobs.states import SHOWN_JOB_STATES
from webui.accounts.person import own_name
from webui.context import choice, database, settings, words
from webui.contract import cursors
from webui.pages.jobs import notices
from webui.polling import jobs_version

PAGE = 25
COLUMNS = {
    "kind": "Kind",
    "model": "Model",
    "data": "Data",
    "user": "User",
    "state": "State",
    "progress": "Progress",
    "rate": "Rate",
    "compute": "Compute time",
    "submitted": "Submitted",
    "ended": "Ended",
}
"""Columns that the list shows beside the name, which is always there."""
NOT_AT_FIRST = ("rate", "ended")
PARAMETERS = ("q", "state", "phase", "kind", "user", "mine", "model", "quick", "sort", "column")
_STATES = tuple(state.value for state in SHOWN_JOB_STATES)
_SWITCHES = {"1": True, "0": False, "all": None}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that stand together: the jobs of a study, or a single one."""

    study: StudyOfJob | None
    jobs: tuple[Job, ...]
    doing: dict[int, Status]

    @property
    def phases(self) -> list[tuple[str, int]]:
        """The number of its jobs by status."""
        counts = Counter(self.doing[job.id].phase for job in self.jobs)
        return [(phase.value, counts[phase]) for phase in Phase if counts[phase]]

    @property
    def share(self) -> float:
        """The part of its examples that is computed."""
        whole = sum(job.examples for job in self.jobs)
        return sum(job.computed for job in self.jobs) / whole if whole else 0.0


@dataclass(frozen=True)
class JobList:
    """The list that an address asks for."""

    wanted: JobFilter
    order: Order
    columns: tuple[str, ...]
    mine: bool
    cursor: Cursor | None

    @classmethod
    def asked_for(cls) -> JobList:
        """The list of this request, read once. Raises InputError."""
        if "job_list" not in g:
            g.job_list = cls._read()
        found: JobList = g.job_list
        return found

    @classmethod
    def _read(cls) -> JobList:
        mine = choice("mine", ("1",)) == "1"
        wanted = JobFilter(
            state=choice("state", _STATES),
            phase=choice("phase", tuple(Phase)),
            kind=choice("kind", NAMES),
            user=own_name() if mine else fold(words("user")),
            model=words("model"),
            quick=_SWITCHES[choice("quick", _SWITCHES, "0")],
            contains=words("q"),
        )
        order = Order.parse(words("sort"))
        before = _cursor("before", order, backwards=True)
        return cls(
            wanted=wanted,
            order=order,
            columns=_columns(),
            mine=mine,
            cursor=before or _cursor("after", order),
        )

    @cached_property
    def listing(self) -> Listing:
        """The jobs of the page."""
        return job_list.list_page(database(), self.wanted, self.order, self.cursor, PAGE)

    @cached_property
    def facets(self) -> Facets:
        """The counts beside what can be chosen."""
        return job_list.read_facets(database(), self.wanted)

    @cached_property
    def studies(self) -> dict[int, StudyOfJob]:
        """The study that each job of the page was submitted with, by the job's number."""
        return job_list.studies_of(database(), self.listing.jobs)

    @property
    def in_groups(self) -> bool:
        """True where studies fold: in the order of submission, and where nothing is looked for."""
        asked = self.wanted
        looks_for = (asked.contains, asked.phase, asked.state, asked.kind)
        return self.order.by == "submitted" and not any(looks_for)

    def version(self) -> object:
        """The version of the table, which renews itself; the counts above it do not."""
        return jobs_version(self.listing.jobs)

    def values(self) -> dict[str, object]:
        """The values of the page's template."""
        found = job_reads.get_jobs(database(), self.listing.jobs)
        groups = self._groups(found)
        return {
            "groups": groups,
            "in_groups": self.in_groups,
            "studies": self.studies,
            "facets": self.facets,
            "asked": self.wanted,
            "mine": self.mine,
            "order": self.order,
            "columns": {name: COLUMNS[name] for name in COLUMNS if name in self.columns},
            "all_columns": COLUMNS,
            "sorts": job_list.SORTS,
            "here": here,
            "hidden": hidden,
            "previous": self._page("before", self.listing.places[:1], self.listing.before),
            "next": self._page("after", self.listing.places[-1:], self.listing.after),
            "narrowed": any((*vars(self.wanted).values(), self.mine, self.cursor)),
            "live": any(not job.final for job in found) or not found,
        }

    def _groups(self, found: list[Job]) -> list[Group]:
        doing = notices.statuses(*found)
        place = {one.job: one.group for one in self.listing.places}
        key = place.__getitem__ if self.in_groups else int
        return [
            Group(
                study=self.studies.get(number) if self.in_groups else None, jobs=those, doing=doing
            )
            for number, those in (
                (jobs[0].id, jobs)
                for jobs in (tuple(part) for _, part in groupby(found, key=lambda job: key(job.id)))
            )
        ]

    def _page(self, name: str, edge: tuple[Place, ...], there: bool) -> str | None:
        if not there or not edge:
            return None
        return here(**{name: cursors.encode(edge[0].value, edge[0].job)})


def here(**changes: object) -> str:
    """The address of this list with some of its choices changed, from its first page."""
    values: dict[str, Any] = {name: request.args.getlist(name) for name in PARAMETERS}
    values |= {name: None if value in ("", None) else value for name, value in changes.items()}
    return url_for("jobs.index", **values)


def hidden(*without: str) -> list[tuple[str, str]]:
    """The choices of this address but some, as fields of a form."""
    kept = [name for name in PARAMETERS if name not in without]
    return [(name, value) for name in kept for value in request.args.getlist(name) if value]


def _columns() -> tuple[str, ...]:
    given = [value for value in request.args.getlist("column") if value]
    for name in given:
        if name not in COLUMNS:
            raise refuse("column", name, "is not a column of the list", nearest(name, COLUMNS))
    own = ("user",) if not settings().ways else ()
    return tuple(given) or tuple(name for name in COLUMNS if name not in (*NOT_AT_FIRST, *own))


def _cursor(name: str, order: Order, *, backwards: bool = False) -> Cursor | None:
    given = words(name, longest=2_000)
    found = cursors.place(given, texts=order.by in TEXTS, name=name)
    return found and Cursor(value=found[0], job=found[1], backwards=backwards)
