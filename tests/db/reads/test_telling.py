"""The examples that a report shows: which ones are chosen of made-up results."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import update

from db import schema
from db.database import Database
from db.reads.telling import LONGEST, telling_examples
from tests.webui.seed import seed_job


def job_of(database: Database, *results: tuple[int | None, int | None, float]) -> int:
    """A job of two classes with examples of a gold label, a prediction and its probability."""
    job = seed_job(database, examples=len(results), labels=("no", "yes"), pairs=(("a b", "c"),))
    for example, (gold, predicted, sure) in enumerate(results):
        shares = [sure if label == predicted else 1 - sure for label in (0, 1)]
        change(database, schema.example, job, example, gold=gold)
        values = {"predicted": predicted, "probabilities": json.dumps(shares)}
        change(database, schema.example_result, job, example, **values)
    return job


def change(database: Database, table: Any, job: int, example: int, **values: object) -> None:
    with database.write() as tx:
        c = table.c
        mine = (c.job_id == job) & (c.example_no == example)
        tx.execute(update(table).where(mine).values(**values))


def chosen(database: Database, job: int) -> list[tuple[int, str]]:
    return [(one.example, one.reason.split()[-2]) for one in telling_examples(database, job)]


def test_the_most_confident_right_and_wrong_predictions(database: Database) -> None:
    results = ((1, 1, 0.75), (0, 1, 0.625), (0, 0, 0.875), (1, 0, 0.75), (0, 0, 0.5))
    job = job_of(database, *results)
    assert chosen(database, job) == [(2, "right"), (3, "wrong")]
    right, wrong = telling_examples(database, job)
    assert (right.gold, right.predicted, right.probability) == (0, 0, 0.875)
    assert (wrong.gold, wrong.predicted, wrong.probability) == (1, 0, 0.75)


def test_the_first_of_equal_ones_counts(database: Database) -> None:
    job = job_of(database, (1, 1, 0.75), (0, 0, 0.75))
    assert chosen(database, job) == [(0, "right")]


def test_long_texts_and_failed_examples_are_passed_over(database: Database) -> None:
    job = job_of(database, (0, 0, 0.875), (0, 0, 0.75), (0, 0, 0.625))
    change(database, schema.example, job, 0, text_a="a" * LONGEST)
    change(database, schema.example_result, job, 1, error="out of memory")
    assert chosen(database, job) == [(2, "right")]


def test_without_gold_labels_it_is_the_first(database: Database) -> None:
    job = job_of(database, (None, 1, 0.5), (None, 1, 0.875))
    change(database, schema.example, job, 0, text_a="a" * LONGEST)
    assert chosen(database, job) == [(1, "first")]


def test_a_job_without_texts_has_none(database: Database) -> None:
    assert telling_examples(database, seed_job(database, keep_text=False)) == []
