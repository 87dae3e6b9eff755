"""PostgreSQL: a large job has partitions of its own, so that deleting it drops files, not rows.

    head_score                        by `alone`, a column that only PostgreSQL has
    ├── head_score_shared             false: the rows of every small job
    └── head_score_alone              true, by job
        ├── head_score_job_17
        └── head_score_job_21

No level has a default partition: adding a job's partition then reads no row, and locks neither
readers nor writers out. Rows of a large job are copied straight into its partition, where `alone`
is true by default, so nothing else in Headwise knows of it. SQLite has plain tables.

The rows of an example are written together, so they lie together. Where an example has several, a
partition has no primary key, whose four columns would be a third of its space and half of the time
of a commit: a BRIN index knows which pages hold which examples. That no row comes twice is what
fences are for. Partitions of earlier releases keep their primary keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import structlog
from sqlalchemy import Table, Text

from db.database import Database
from db.schema.lifetimes import Lifetime, tables
from db.transaction import Transaction
from jobs.errors import UnavailableError

log = structlog.get_logger()

LARGE_JOB_ROWS = 200_000
"""Rows of a job's largest table from which on it has partitions: fewer are deleted in well under
a second, and thousands of small jobs would make thousands of partitions."""

ROWS_OF_A_PAGE = 120
"""Head scores that fit into a page."""
LEAST_PAGES = 16
"""Pages of the smallest range that a BRIN index describes."""

HAS_LZ4 = """
SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'
"""
"""Servers may be built without it."""

SUMMARIZE = """
SELECT brin_summarize_new_values(oid) FROM pg_class
WHERE relname IN :indexes AND pg_table_is_visible(oid)
"""


def partitioned() -> tuple[Table, ...]:
    """Return the tables that have partitions on PostgreSQL."""
    return tables(Lifetime.DETAILS, many_rows=True)


def add(
    tx: Transaction, job_id: int, large: Sequence[Table], *, examples: int, largest: int
) -> None:
    """Give a job that has no rows yet its partitions of these tables.

    largest: rows that its largest table will have
    """
    if tx.dialect != "postgresql":
        return
    has_lz4 = bool(tx.run(HAS_LZ4).scalar())
    for table in large:
        own = _own(table, job_id)
        indexes = "" if _by_example(table) else "INCLUDING INDEXES "
        tx.run(
            f"CREATE TABLE {own} (LIKE {table.name}_shared "
            f"INCLUDING DEFAULTS {indexes}INCLUDING STORAGE)"
        )
        tx.run(f"ALTER TABLE {own} ALTER COLUMN alone SET DEFAULT true")
        if has_lz4:
            _compress_quickly(tx, table, job_id)
        if _by_example(table):
            _index_by_example(tx, table, job_id, examples=examples, largest=largest)
        tx.run(f"ALTER TABLE {table.name}_alone ATTACH PARTITION {own} FOR VALUES IN ({job_id})")


def _compress_quickly(tx: Transaction, table: Table, job_id: int) -> None:
    """Compress texts by lz4: a quarter of pglz's time for the JSON of an example."""
    texts = [column.name for column in table.columns if isinstance(column.type, Text)]
    changes = [f'ALTER COLUMN "{name}" SET COMPRESSION lz4' for name in texts]
    if changes:
        tx.run(f"ALTER TABLE {_own(table, job_id)} {', '.join(changes)}")


def _by_example(table: Table) -> bool:
    """Return True if an example has several rows, which are written together."""
    first, second, *others = (column.name for column in table.primary_key)
    return (first, second) == ("job_id", "example_no") and bool(others)


def _index_by_example(
    tx: Transaction, table: Table, job_id: int, *, examples: int, largest: int
) -> None:
    """Index an empty partition by example, and tell the planner what its rows will look like.

    Without statistics the planner takes the rows to be in no order, and reads all of them.
    """
    own = _own(table, job_id)
    # To read an example is to look at every range and to read one: both take the same time then.
    pages = max(LEAST_PAGES, isqrt(largest) // ROWS_OF_A_PAGE)
    tx.run(
        f"CREATE INDEX {_brin(table, job_id)} ON {own} USING brin (example_no) "
        f"WITH (pages_per_range = {pages})"
    )
    tx.run(f"ALTER TABLE {own} ALTER COLUMN example_no SET (n_distinct = {examples})")
    known = {"job_id": str(job_id), "example_no": "n"}
    sample = {c.name: known.get(c.name, "'0'") for c in table.columns if not c.nullable}
    names = ", ".join(f'"{name}"' for name in sample)
    step = max(1, examples // 1_000)
    tx.run(
        f"INSERT INTO {own} ({names}) SELECT {', '.join(sample.values())} "  # noqa: S608
        f"FROM generate_series(0, {examples - 1}, {step}) n"
    )
    tx.run(f"ANALYZE {own} (example_no)")
    tx.run(f"TRUNCATE {own}")  # statistics stay


def summarize(database: Database, job_id: int) -> None:
    """Let the BRIN indexes of a job know of the rows that were written last.

    Until then readers look at all of those, as before the next vacuum. Nobody waits for it: what is
    left out now is done after the next commit.
    """
    if database.dialect != "postgresql":
        return
    try:
        with database.write() as tx:
            _bounded(tx)
            indexes = [_brin(table, job_id) for table in partitioned() if _by_example(table)]
            tx.run(SUMMARIZE, indexes=indexes)
    except UnavailableError as error:
        log.debug("an index is brought up to date later", job=job_id, error=str(error))


def target(tx: Transaction, table: Table, job_id: int) -> str:
    """The table to copy a job's rows into."""
    if tx.dialect != "postgresql" or table not in partitioned():
        return table.name
    return _own(table, job_id) if _exists(tx, table, job_id) else table.name


def owned(tx: Transaction, job_id: int) -> list[Table]:
    """The tables in which a job has a partition of its own."""
    if tx.dialect != "postgresql":
        return []
    return [table for table in partitioned() if _exists(tx, table, job_id)]


def truncate(tx: Transaction, table: Table, job_id: int) -> None:
    """Give a partition's space back; waits only for those who read that partition."""
    _bounded(tx)
    tx.run(f"TRUNCATE {_own(table, job_id)}")


def drop(tx: Transaction, table: Table, job_id: int) -> None:
    """Remove a partition; waits for whoever is reading the table at all."""
    _bounded(tx)
    tx.run(f"DROP TABLE IF EXISTS {_own(table, job_id)}")


def size(tx: Transaction, table: Table, job_id: int) -> int:
    """Bytes of a job's partition with its indexes; 0 without one."""
    if tx.dialect != "postgresql" or table not in partitioned():
        return 0
    query = "SELECT pg_total_relation_size(to_regclass(:own))"
    return int(tx.run(query, own=_own(table, job_id)).scalar() or 0)


def _own(table: Table, job_id: int) -> str:
    return f"{table.name}_job_{job_id:d}"


def _brin(table: Table, job_id: int) -> str:
    return f"{_own(table, job_id)}_by_example"


def _exists(tx: Transaction, table: Table, job_id: int) -> bool:
    found = tx.run("SELECT to_regclass(:own)", own=_own(table, job_id))
    return found.scalar() is not None


def _bounded(tx: Transaction) -> None:
    # Who waits for an exclusive lock makes everyone behind it wait, too.
    tx.run("SET LOCAL lock_timeout = '250ms'")
