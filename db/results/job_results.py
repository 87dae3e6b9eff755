"""The results of a whole job: computed before the transaction that writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Table, delete, insert

from db.transaction import Transaction

TableRows: TypeAlias = Mapping[Table, Sequence[Mapping[str, Any]]]
"""Rows of a job by table, without their `job_id`."""


@dataclass(frozen=True, kw_only=True)
class JobResults:
    """The results of a job."""

    rows: TableRows
    """They replace the job's rows in these tables."""
    result_hash: str


def replace_rows(tx: Transaction, job_id: int, rows: TableRows) -> None:
    """Write rows in place of the job's rows in their tables."""
    for table in rows:
        tx.execute(delete(table).where(table.c.job_id == job_id))
    add_rows(tx, job_id, rows)


def add_rows(tx: Transaction, job_id: int, rows: TableRows) -> None:
    """Write rows of a job."""
    for table, those in rows.items():
        if those:
            tx.execute(insert(table), [{"job_id": job_id, **row} for row in those])
