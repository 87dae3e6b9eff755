"""Plans of queries: checked like queries, and not run."""

from __future__ import annotations

import pytest

from db.console.console import Console
from db.database import Database
from jobs.errors import InputError
from tests.db.console.queries import COUNTING, contents
from tests.db.console.test_refusals import READS


def test_a_plan_names_the_steps(console: Console) -> None:
    plan = console.explain("SELECT s.layer FROM head_scores h JOIN sites s USING (job_id, layer)")
    assert len(plan.splitlines()) > 1
    assert "scan" in plan.lower()
    assert "db_" not in plan  # the random name of the attached file


def test_a_query_that_never_ends_has_a_plan(console: Console) -> None:
    assert console.explain(COUNTING.format("") + "SELECT count(*) FROM r")


def test_a_plan_is_refused_what_its_query_is(console: Console, stocked: Database) -> None:
    before = contents(stocked)
    writing = (
        "DELETE FROM job",
        "SELECT 1; DELETE FROM job",
        "(ANALYZE) SELECT 1",
        "ANALYZE SELECT 1",
        "QUERY PLAN SELECT 1",
        "SELECT pg_sleep(9)",
        "WITH gone AS (DELETE FROM job RETURNING id) SELECT * FROM gone",
        "SELECT lo_creat(-1)",
        "EXECUTE analysed",
    )
    reading = (shape.format(table="users", column="id", schema="main") for shape in READS)
    for sql in (*writing, *reading):
        with pytest.raises(InputError):
            console.explain(sql)
    assert contents(stocked) == before
