"""Rows that a view leaves out reach no function of a user's query, on PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import Diagnostic

from db.database import Database
from db.views import VIEWS
from tests.helpers.canaries import fill

pytestmark = pytest.mark.services

LEAK = """
CREATE FUNCTION leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$
"""
"""So cheap that the planner calls it first, where it may."""


def noticed(url: str, statements: list[str]) -> list[str]:
    """Run statements, after which everything is as before; return what they raised as notices."""
    seen: list[str] = []

    def keep(notice: Diagnostic) -> None:
        seen.append(notice.message_primary or "")

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.add_notice_handler(keep)
        for statement in (LEAK, *statements):
            connection.execute(statement.encode())
        connection.rollback()
    return seen


def test_a_leaky_function_sees_no_row_that_a_view_leaves_out(postgres_url: str) -> None:
    database = Database(postgres_url)
    canaries = fill(database)
    database.close()
    queries = [
        f"SELECT 1 FROM {view.name} WHERE leak({column.name}::text)"
        for view in VIEWS
        for column in view.columns
    ]
    seen = noticed(postgres_url, queries)
    assert any("canary" in text for text in seen)
    assert canaries.seen_in([[text] for text in seen]) == set()


def test_without_the_barrier_it_would_be_seen(postgres_url: str) -> None:
    database = Database(postgres_url)
    canaries = fill(database)
    database.close()
    open_ = "ALTER VIEW jobs RESET (security_barrier)"
    seen = noticed(postgres_url, [open_, "SELECT 1 FROM jobs WHERE leak(name)"])
    assert canaries.seen_in([[text] for text in seen]) == {"job.name"}
