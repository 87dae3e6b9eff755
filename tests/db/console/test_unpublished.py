"""Nothing that no view publishes can be read, in whatever way a query names it.

Tables and columns come from the schema, and each value is a canary: a new table is covered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from db.console.child import Refused
from db.console.console import placed_views
from db.console.sqlite_process import Guard
from db.database import Database
from db.schema import metadata
from db.views import VIEW_NAMES
from tests.helpers.canaries import Canaries, fill

JOINS = ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
FORMS = (
    *(f"SELECT {{c}} FROM (SELECT NULL AS {{c}}) n {join} {{t}} USING ({{c}})" for join in JOINS),
    *(f"SELECT {{c}} FROM {{t}} {join} (SELECT NULL AS {{c}}) n USING ({{c}})" for join in JOINS),
    *(f"SELECT * FROM (SELECT NULL AS {{c}}) n NATURAL {join} {{t}}" for join in JOINS),
    *(f"SELECT {{c}} FROM {{t}} a NATURAL {join} {{t}} b" for join in JOINS),
    *(f"SELECT {{c}} FROM {{t}} a {join} {{t}} b USING ({{c}})" for join in JOINS),
    *(f"SELECT x.{{c}} FROM jobs {join} {{t}} x ON 1 = 1" for join in JOINS),
    "SELECT {c} FROM {t}",
    'SELECT "{c}" FROM "{t}"',
    "SELECT {t}.{c} FROM jobs, {t}",
    "SELECT a.* FROM {t} a CROSS JOIN jobs",
    "SELECT NULL AS {c} WHERE 1 = 0 UNION ALL SELECT {c} FROM {t}",
    "SELECT {c} FROM {t} EXCEPT SELECT {c} FROM {t} WHERE {c} IS NULL",
    "WITH x AS (SELECT {c} FROM {t}) SELECT {c} FROM x",
    "WITH x({c}) AS (SELECT NULL) SELECT {c} FROM x FULL JOIN {t} USING ({c})",
    "WITH jobs AS (SELECT * FROM {t}) SELECT {c} FROM jobs",
    "WITH RECURSIVE jobs({c}) AS (SELECT {c} FROM {t} UNION SELECT {c} FROM jobs) "
    "SELECT {c} FROM jobs",
    "SELECT (SELECT min(x.{c}) FROM {t} x WHERE x.{c} IS NOT NULL AND j.job_id = 1) FROM jobs j",
    "SELECT (SELECT {c} FROM (SELECT NULL AS {c}) n FULL JOIN {t} USING ({c}) LIMIT 1) FROM jobs",
    "SELECT first_value({c}) OVER (ORDER BY {c}) FROM {t}",
    "SELECT max({c}) OVER (PARTITION BY {c}) FROM (SELECT NULL AS {c}) n FULL JOIN {t} USING ({c})",
    "SELECT {c} FROM {t} GROUP BY {c} ORDER BY {c}",
    "SELECT * FROM (SELECT * FROM (SELECT {c} FROM {t}) a) b",
    "SELECT j.job_id FROM jobs j WHERE EXISTS (SELECT 1 FROM {t} x WHERE x.{c} IS NOT NULL)",
)
SQLITE_NAMES = (
    "sqlite_master",
    "sqlite_schema",
    "sqlite_temp_master",
    "sqlite_temp_schema",
    "sqlite_sequence",
    "SQLite_Master",
    '"sqlite_master"',
    "[sqlite_master]",
    "`sqlite_master`",
    "'sqlite_master'",
    "main.sqlite_master",
    "temp . sqlite_master",
    'temp/**/."sqlite_temp_schema"',
    "pragma_database_list",
    "pragma_table_info('job')",
    "pragma_module_list",
    "PRAGMA_table_list",
)

Rows = list[tuple[object, ...]]


@pytest.fixture
def canaries(database: Database) -> Canaries:
    """Canaries in every table of a database."""
    return fill(database)


@pytest.fixture
def answers(database: Database) -> Iterator[Callable[[str], Rows]]:
    """Runs a query as the console's process does, without a process per query."""
    guard = Guard(placed_views())
    connection = guard.open(f"file:{database.engine.url.database}?mode=ro")

    def run(sql: str) -> Rows:
        guard.denied = None
        with guard.translated(sql):
            return connection.execute(sql).fetchall()

    yield run
    connection.close()


sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_canaries_are_in_every_unpublished_column(database: Database, canaries: Canaries) -> None:
    places = set(canaries.secret.values())
    assert {"job.idempotency_key", "worker.pid", "example.text_a", "shard_top.scores"} <= places
    assert "job.result_hash" in places  # of the job that is being deleted
    tables = {place.partition(".")[0] for place in places}
    assert {"tally", "recurring", "score_sample", "mask_sum", "worker", "job"} <= tables
    of_people = {
        *("account.name", "account.password", "identity.subject", "session.hash", "token.hash"),
        *("link.hash", "failed_sign_in.key", "audit.detail"),
    }
    assert of_people <= places
    assert canaries.seen_in([("canary00000of", 1, None, 2.5, b"x", True)]) == set()
    secret = next(value for value in canaries.secret if isinstance(value, str))
    assert canaries.seen_in([(None, f"<{secret}>")]) == {canaries.secret[secret]}


@sqlite_only
def test_sqlite_finds_no_unpublished_column(
    answers: Callable[[str], Rows], canaries: Canaries
) -> None:
    read, refused = set(), 0
    for table in metadata.sorted_tables:
        for column in table.columns:
            for form in FORMS:
                try:
                    rows = answers(form.format(t=table.name, c=column.name))
                except Refused:
                    refused += 1
                    continue
                if any(value is not None for row in rows for value in row):
                    read.add((form, table.name, column.name))
    assert read == set()
    assert refused > 1_000


@sqlite_only
def test_sqlite_own_names_do_not_resolve(
    answers: Callable[[str], Rows], subtests: pytest.Subtests
) -> None:
    for name in SQLITE_NAMES:
        for sql in (
            f"SELECT count(*) FROM {name}",
            f"SELECT name FROM (SELECT NULL AS name) n FULL JOIN {name} USING (name)",
            f"SELECT sql FROM {name} NATURAL LEFT JOIN (SELECT NULL AS sql) n",
            f"WITH x AS (SELECT * FROM {name}) SELECT * FROM x",
        ):
            with subtests.test(sql), pytest.raises(Refused) as refused:
                answers(sql)
            assert refused.value.answer["error"] == "table"


@sqlite_only
def test_modules_are_shadowed(answers: Callable[[str], Rows], subtests: pytest.Subtests) -> None:
    for name in ("dbstat", "fts3tokenize", "bytecode", "tables_used", "fts5vocab", "rtree"):
        with subtests.test(name), pytest.raises(Refused):
            answers(f"SELECT name FROM (SELECT NULL AS name) n FULL JOIN {name} USING (name)")


@sqlite_only
def test_published_views_show_the_same_through_joins(
    answers: Callable[[str], Rows], canaries: Canaries
) -> None:
    for view in VIEW_NAMES:
        rows = answers(f"SELECT * FROM {view}")
        assert canaries.seen_in(rows) == set()
        assert answers(f"SELECT * FROM {view} NATURAL LEFT JOIN (SELECT 1)") == [
            (*row, 1) for row in rows
        ]
    assert answers("SELECT count(*) FROM jobs a FULL JOIN jobs b USING (job_id)") == [(2,)]


@sqlite_only
def test_unpublished_tables_are_named(answers: Callable[[str], Rows]) -> None:
    for sql in ("SELECT pid FROM worker", "SELECT 1 FROM jobs LEFT JOIN worker USING (job_id)"):
        with pytest.raises(Refused) as refused:
            answers(sql)
        assert (refused.value.code, refused.value.name) == ("table", "worker")
    with suppress(Refused):
        assert answers("SELECT count(*) FROM jobs, worker") == []
