"""The list of jobs: its order, pages, facets and groups, and what its queries read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from db.database import Database
from db.queue import lifecycle
from db.queue.new_jobs import NewJob
from db.reads import job_list, studies
from db.reads.job_list import EVERY, NEWEST, SORTS, Cursor, JobFilter, Order
from jobs.errors import InputError
from tests.helpers.databases import execute, sqlite_database
from tests.helpers.jobs import job_values, planned_job
from tests.helpers.queue import claim, finish_all
from tests.helpers.statements import queries


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """A database whose plans are read."""
    database = sqlite_database(tmp_path / "headwise.sqlite")
    yield database
    database.close()


def numbers(database: Database, wanted: JobFilter = EVERY, order: Order = NEWEST) -> list[int]:
    """The jobs of the first page."""
    return job_list.list_page(database, wanted, order).jobs


def pages(database: Database, order: Order, limit: int, *, backwards: bool = False) -> list[int]:
    """Every job, page by page from one end."""
    found: list[int] = []
    listing = job_list.list_page(database, EVERY, order, None, limit)
    while True:
        found += listing.jobs
        if not listing.after:
            break
        last = listing.places[-1]
        cursor = Cursor(job=last.job, value=last.value)
        listing = job_list.list_page(database, EVERY, order, cursor, limit)
        assert listing.before
    if not backwards:
        return found
    found = listing.jobs
    while listing.before:
        first = listing.places[0]
        cursor = Cursor(job=first.job, value=first.value, backwards=True)
        listing = job_list.list_page(database, EVERY, order, cursor, limit)
        assert listing.after
        found = listing.jobs + found
    return found


@pytest.fixture
def mixed(database: Database) -> Database:
    """Jobs of different names, kinds, users, models and states; 4 executes."""
    for n, (kind, user) in enumerate(
        [("attribution", "ada"), ("pruning", "bob"), ("importance", "ada"), ("attribution", "bob")]
    ):
        spec = json.dumps({"model": {"name": f"models/m{n % 2}"}, "data": {"path": "Pairs.csv"}})
        more = {"model_name": f"m{n % 2}", "data_name": "Pairs.csv", "priority": n}
        planned_job(database, 4, 2, kind=kind, user_name=user, name="cba"[n:], spec=spec, **more)
    claim(database)
    execute(
        database,
        "UPDATE job SET state = 'failed', finished_at = 5, error = '50% off!' WHERE id = 2",
    )
    execute(database, "UPDATE job SET quick = (1 = 1) WHERE id = 1")
    return database


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [True, False])
def test_pages_are_the_whole_list_in_order(mixed: Database, sort: str, descending: bool) -> None:
    order = Order(by=sort, descending=descending)
    whole = numbers(mixed, EVERY, order)
    assert sorted(whole) == [1, 2, 3, 4]
    assert whole == numbers(mixed, EVERY, Order(by=sort, descending=not descending))[::-1]
    for limit in (1, 2, 3):
        assert pages(mixed, order, limit) == whole
        assert pages(mixed, order, limit, backwards=True) == whole


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("submitted", [1, 2, 3, 4]),
        ("name", [3, 2, 1, 4]),  # a, ba, cba, and m1 on Pairs.csv
        ("kind", [1, 4, 3, 2]),
        ("model", [1, 3, 2, 4]),
        ("user", [1, 3, 2, 4]),
        ("state", [1, 3, 4, 2]),
        ("ended", [2, 1, 3, 4]),
        ("compute", [1, 2, 3, 4]),
    ],
)
def test_what_it_is_sorted_by(mixed: Database, sort: str, expected: list[int]) -> None:
    assert numbers(mixed, EVERY, Order.parse(sort)) == expected


def test_compute_time_and_progress_of_jobs_that_have_not_ended(mixed: Database) -> None:
    execute(mixed, "UPDATE attempt SET started_at = started_at - 100")
    assert numbers(mixed, EVERY, Order.parse("-compute"))[0] == 4
    execute(mixed, "UPDATE shard SET progress = 1 WHERE job_id = 3 AND shard_no = 0")
    assert numbers(mixed, EVERY, Order.parse("-progress"))[0] == 3


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'progress'"):
        Order.parse("-progres")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(state="running"), [4, 3, 1]),
        (JobFilter(phase="executing"), [4]),
        (JobFilter(phase="waiting"), [3, 1]),
        (JobFilter(kind="attribution", user="bob"), [4]),
        (JobFilter(model="m0"), [3, 1]),
        (JobFilter(quick=True), [1]),
        (JobFilter(quick=False), [4, 3, 2]),
        (JobFilter(contains="#3"), [3]),
        (JobFilter(contains="50%"), [2]),
        (JobFilter(contains="MODELS/M1"), [4, 2]),
        (JobFilter(contains="BOB"), [4, 2]),
        (JobFilter(contains="no such"), []),
    ],
)
def test_filters(mixed: Database, wanted: JobFilter, expected: list[int]) -> None:
    assert numbers(mixed, wanted) == expected
    assert job_list.read_facets(mixed, wanted).total == len(expected)


def test_facets_count_what_the_other_choices_leave(mixed: Database) -> None:
    found = job_list.read_facets(mixed, JobFilter(user="bob"))
    assert found.phase == {"executing": 1, "failed": 1}
    assert found.kind == {"attribution": 1, "pruning": 1}
    assert found.user == {"ada": 2, "bob": 2}
    assert (found.model, found.quick, found.others, found.total) == ({"m1": 2}, 1, 3, 2)
    found = job_list.read_facets(mixed, JobFilter(quick=False, phase="paused"))
    assert found.phase == {"waiting": 1, "executing": 1, "paused": 0, "failed": 1}
    assert (found.kind, found.quick, found.others, found.total) == ({}, 1, 3, 0)
    lifecycle.set_control(mixed, 3, "pause")
    assert job_list.read_facets(mixed, JobFilter(quick=False, phase="paused")).total == 1


def test_jobs_of_a_study_stand_together_and_are_not_divided(database: Database) -> None:
    for _ in range(3):
        planned_job(database, 2, 2)
    steps = ("attribution", "taylor", "pruning")

    def job(step: str, _: object) -> NewJob | int:
        # One step reuses a job that is there.
        return 2 if step == "taylor" else NewJob(values=job_values(name=step), examples=[])

    study, own = studies.write_study(database, "paper", "ada", steps, job)
    assert own == {"attribution": 4, "taylor": 2, "pruning": 5}
    planned_job(database, 2, 2)
    assert numbers(database) == [6, 5, 4, 3, 2, 1]
    first = job_list.list_page(database, EVERY, NEWEST, None, 2)
    assert (first.jobs, first.after) == ([6, 5, 4], True)
    assert [place.group for place in first.places] == [6, 5, 5]
    found = job_list.studies_of(database, [6, 5, 4, 2])
    assert {job: one.id for job, one in found.items()} == {5: study, 4: study, 2: study}
    # A later study that takes the same jobs changes nothing.
    studies.write_study(database, "again", "ada", steps, lambda step, _: own[step])
    assert job_list.studies_of(database, [4])[4].name == "paper"
    assert numbers(database) == [6, 5, 4, 3, 2, 1]


def plans(database: Database, wanted: JobFilter, order: Order) -> list[str]:
    """SQLite's plan: how it reads the tables for a page and its facets."""
    statements: list[tuple[str, object]] = []

    def note(_c: object, _r: object, statement: str, values: object, *_: object) -> None:
        statements.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    job_list.list_page(database, wanted, order)
    job_list.read_facets(database, wanted)
    event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        return [
            str(row[3])
            for statement, values in statements
            if statement.lstrip().startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


@pytest.mark.parametrize("sort", SORTS)
def test_the_list_reads_indexes_only(sqlite: Database, sort: str) -> None:
    wanted = JobFilter(phase="executing", kind="pruning", user="ada", model="m", quick=False)
    for asked in (EVERY, JobFilter(quick=False), wanted):
        read = [line for line in plans(sqlite, asked, Order(by=sort)) if " j" in line]
        assert read
        assert not [line for line in read if "INDEX" not in line], read


def test_the_newest_jobs_are_found_without_sorting(sqlite: Database) -> None:
    lines = plans(sqlite, JobFilter(quick=False), NEWEST)
    page = lines[: next(n for n, line in enumerate(lines) if "ix_job_list" in line)]
    assert any("ix_job_place" in line for line in page)
    assert not any("TEMP B-TREE" in line for line in page)


def test_a_page_takes_the_same_number_of_queries_however_many_jobs(sqlite: Database) -> None:
    counts = []
    for more in (3, 40):
        for _ in range(more):
            planned_job(sqlite, 2, 2)
        with queries(sqlite) as sent:
            job_list.list_jobs(sqlite, limit=25)
            job_list.read_facets(sqlite)
        counts.append(len(sent))
    assert counts[0] == counts[1] < 12


def test_ended_jobs_store_what_the_list_sorts_by(database: Database) -> None:
    planned_job(database, 4, 2)
    finish_all(database)
    assert numbers(database, EVERY, Order.parse("-progress")) == [1]
    with database.read() as tx:
        assert tx.run("SELECT compute_seconds FROM job").scalar_one() is not None
