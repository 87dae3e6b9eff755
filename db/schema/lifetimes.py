"""Lifetimes of rows, which every table declares in `Table.info`.

Deletion, purge and partitions derive their lists of tables from it, so that a new table cannot be
forgotten by one of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Table

from db.schema.metadata import metadata


class Lifetime(StrEnum):
    """The time that a table's rows, or the values of a column, are kept."""

    INSTALLATION = "rows belong to no job; deleting jobs does not remove them"
    STUDY = "until the last job of the study is deleted"
    JOB = "until the job is deleted"
    DETAILS = "until the job's details are purged, or the job is deleted"
    RUN = "until the job's results are merged, or the job is deleted"


def kept(lifetime: Lifetime, *, many_rows: bool = False) -> dict[str, object]:
    """Return the `info` of a table or column.

    many_rows: rows per example, block or shard. They are deleted in batches after their job is
        marked, and not in the transaction that marks it. Details with many rows are partitioned on
        PostgreSQL.
    """
    return {"lifetime": lifetime, "many_rows": many_rows}


def tables(*lifetimes: Lifetime, many_rows: bool | None = None) -> tuple[Table, ...]:
    """Return the tables with one of these lifetimes, and with many or few rows if that is given."""
    return tuple(
        table
        for table in metadata.tables.values()
        if table.info["lifetime"] in lifetimes and many_rows in (None, table.info["many_rows"])
    )


def cleared_columns() -> dict[Table, list[Column[Any]]]:
    """Return the columns that are details in tables that are kept: purging sets them to null."""
    found = {
        table: [column for column in table.columns if "lifetime" in column.info]
        for table in metadata.tables.values()
    }
    return {table: columns for table, columns in found.items() if columns}
