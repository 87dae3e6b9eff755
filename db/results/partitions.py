"""PostgreSQL: a large job has partitions of its own, so that deleting it drops files, not rows.

    head_score                        by `alone`, a column that only PostgreSQL has
    ├── head_score_shared             false: the rows of every small job
    └── head_score_alone              true, by job
        ├── head_score_job_17
        └── head_score_job_21

No level has a default partition: adding a job's partition then reads no row, and locks neither
readers nor writers out. Rows of a large job are copied straight into its partition, where `alone`
is true by default, so nothing else in Headwise knows of it. SQLite has plain tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table

from db.schema.lifetimes import Lifetime, tables
from db.transaction import Transaction

LARGE_JOB_ROWS = 200_000
"""Rows of a job's largest table from which on it has partitions: fewer are deleted in well under
a second, and thousands of small jobs would make thousands of partitions."""


def partitioned() -> tuple[Table, ...]:
    """Return the tables that have partitions on PostgreSQL."""
    return tables(Lifetime.DETAILS, many_rows=True)


def add(tx: Transaction, job_id: int, large: Sequence[Table]) -> None:
    """Give a job that has no rows yet its partitions of these tables."""
    if tx.dialect != "postgresql":
        return
    for table in large:
        own = _own(table, job_id)
        for statement in (
            f"CREATE TABLE {own} (LIKE {table.name}_shared "
            "INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING STORAGE)",
            f"ALTER TABLE {own} ALTER COLUMN alone SET DEFAULT true",
            f"ALTER TABLE {table.name}_alone ATTACH PARTITION {own} FOR VALUES IN ({job_id})",
        ):
            tx.run(statement)


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


def _exists(tx: Transaction, table: Table, job_id: int) -> bool:
    found = tx.run("SELECT to_regclass(:own)", own=_own(table, job_id))
    return found.scalar() is not None


def _bounded(tx: Transaction) -> None:
    # Who waits for an exclusive lock makes everyone behind it wait, too.
    tx.run("SET LOCAL lock_timeout = '250ms'")
