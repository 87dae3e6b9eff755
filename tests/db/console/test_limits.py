"""The time, the memory and the surroundings of a query."""

from __future__ import annotations

import pytest
from sqlalchemy import text

import db.console.console
import db.console.process
from db.console.console import Console
from db.console.postgresql.role import console_role
from db.database import Database
from jobs.errors import InputError
from tests.db.console.queries import COUNTING, children, contents, message_of

ENDLESS = {
    "recursion": COUNTING.format("") + "SELECT count(*) FROM r",
    "cross join": COUNTING.format(" WHERE i < 1000000")
    + "SELECT count(*) FROM r a CROSS JOIN r b WHERE a.i + b.i < 0",
}


@pytest.mark.parametrize("attack", ENDLESS)
def test_time_is_limited(hurried: Console, stocked: Database, attack: str) -> None:
    before, alive = contents(stocked), children()
    assert "time limit of 0.5 s" in message_of(hurried, ENDLESS[attack])
    with pytest.raises(InputError, match=r"time limit of 0\.5 s"):
        next(hurried.download(ENDLESS[attack]))
    assert (contents(stocked), children()) == (before, alive)
    assert hurried.run("SELECT 1").rows == [(1,)]
    if stocked.dialect == "postgresql":
        with stocked.read() as tx:
            running = "SELECT count(*) FROM pg_stat_activity WHERE usename = :role AND state = :s "
            asked = {"role": console_role(str(stocked.engine.url.database)), "s": "active"}
            mine = text(running + "AND datname = current_database()")
            assert tx.execute(mine, asked).scalar() == 0


LONG = {
    "sqlite": (
        "WITH RECURSIVE r(s) AS (SELECT 'xxxxxxxxxx' UNION ALL SELECT s || s FROM r) "
        "SELECT max(length(s)) FROM r",
        "SELECT length(group_concat(hex(s))) FROM (WITH RECURSIVE r(n, s) AS (SELECT 1, 'x' UNION "
        "ALL SELECT n + 1, s || s FROM r WHERE n < 23) SELECT s FROM r)",
    ),
    "postgresql": (
        "SELECT repeat('x', 1100000000)",
        "SELECT repeat('x', 40000000)",
        "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 2000)",
    ),
}


def test_a_long_value_does_not_get_through(console: Console, stocked: Database) -> None:
    before = contents(stocked)
    for sql in LONG[stocked.dialect]:
        with pytest.raises(InputError):
            console.run(sql)
    assert contents(stocked) == before
    assert console.run("SELECT 1").rows == [(1,)]


def test_memory_is_limited(
    console: Console, stocked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stocked.dialect == "sqlite":
        monkeypatch.setitem(db.console.console.MEMORY, "sqlite", 100 << 20)
        sql = (
            COUNTING.format(" WHERE i < 5000000")
            + "SELECT i, hex(hex(hex(hex(i)))) AS h FROM r ORDER BY h"
        )
    else:
        # A few rows of 90 MB each.
        monkeypatch.setattr(db.console.console, "RESULT_BYTES", 10**9)
        columns = "s, " * 899 + "s"
        sql = f"SELECT {columns} FROM (SELECT repeat('x', 99999) s) q, generate_series(1, 20)"
    with pytest.raises(InputError, match="memory limit"):
        console.run(sql)
    assert console.run("SELECT 1").rows == [(1,)]


def test_the_child_sees_no_settings(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", "postgresql://u:password@h/d")
    assert "HEADWISE_DATABASE_URL" not in db.console.process._environment()
    assert console.run("SELECT 1").rows == [(1,)]
