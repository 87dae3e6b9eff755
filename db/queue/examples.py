"""The examples of a job: written with it or when it is planned, their texts deleted on request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import select, update

from db import schema
from db.results.bulk import insert_rows
from db.transaction import Transaction


class ExampleRow(NamedTuple):
    """An example as it is stored."""

    source_row: int
    """Row of the data it came from, from 0."""
    text_a: str | None
    text_b: str | None
    text_hash: str
    gold: int | None
    """Index of its label."""


def insert_examples(tx: Transaction, job_id: int, examples: Iterable[ExampleRow]) -> None:
    """Write a job's examples, numbered in their order."""
    names = [column.name for column in schema.example.columns]
    rows = ((job_id, number, *row) for number, row in enumerate(examples))
    insert_rows(tx, schema.example, job_id, names, rows)


def read_examples(tx: Transaction, job_id: int) -> list[ExampleRow]:
    """Read a job's examples in their order."""
    e = schema.example.c
    query = select(*(e[name] for name in ExampleRow._fields)).where(e.job_id == job_id)
    return [ExampleRow(*row) for row in tx.execute(query.order_by(e.example_no))]


def text_hashes(tx: Transaction, jobs: Iterable[int]) -> set[str]:
    """Read the hashes of the texts of jobs."""
    e = schema.example.c
    query = select(e.text_hash).where(e.job_id.in_(sorted(jobs))).distinct()
    return set(tx.execute(query).scalars())


def delete_texts(tx: Transaction, job_id: int, lo: int, hi: int) -> None:
    """Delete the texts of examples that have their results."""
    e = schema.example.c
    mine = (e.job_id == job_id) & e.example_no.between(lo, hi - 1)
    tx.execute(update(schema.example).where(mine).values(text_a=None, text_b=None))
