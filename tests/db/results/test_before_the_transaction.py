"""Packing and formatting of results come before the transaction, in which other writers wait."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from db.database import Database
from db.kinds import KINDS
from db.queue import claims, lifecycle
from db.results import commit, words
from db.transaction import Transaction
from jobs.outcome import HandedBack, PartialBlock, StopReason
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import result_of
from tests.helpers.matrices import matrix_of
from tests.helpers.queue import blocked_job, claim, compute, finish_all

PAUSE = HandedBack(reason=StopReason.PAUSE)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Names of what takes long, as it is called, with True inside a write transaction."""
    open_: list[Transaction] = []
    done: list[tuple[str, bool]] = []
    write = Database.write

    @contextmanager
    def noted(database: Database) -> Iterator[Transaction]:
        with write(database) as tx:
            open_.append(tx)
            try:
                yield tx
            finally:
                open_.pop()

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            done.append((name, bool(open_)))
            return original(*given, **named)

        return call

    monkeypatch.setattr(Database, "write", noted)
    for place, name in ((zlib, "compress"), (np, "savez_compressed"), (words, "to_columns")):
        monkeypatch.setattr(place, name, watched(name, getattr(place, name)))
    kind = KINDS["attribution"]
    seen = {name: watched(name, getattr(kind, name)) for name in ("prepare", "finish")}
    monkeypatch.setitem(KINDS, "attribution", replace(kind, **seen))
    return done


def partial(lo: int, hi: int, number: int) -> PartialBlock:
    result = replace(result_of(number, number + 1), matrices=((matrix_of(0, 0),),))
    return PartialBlock(
        lo=lo, hi=hi, finished=(number,), result=result, seconds=1.0, fingerprint="model"
    )


def test_a_commit(database: Database, work: list[tuple[str, bool]]) -> None:
    blocked_job(database, 12, 4)
    held = claim(database)
    done = replace(compute(held, 4), partial=partial(4, 8, 5))
    (first,) = done.parts
    packed = replace(first, matrices=((matrix_of(0, 0),),) * len(first.examples))
    assert commit.commit_shard(database, held, replace(done, parts=(packed,)), "model", PAUSE)
    assert {name for name, _ in work} == {"compress", "savez_compressed", "to_columns", "prepare"}
    assert [name for name, inside in work if inside] == []


def test_the_end_of_a_job(database: Database, work: list[tuple[str, bool]]) -> None:
    blocked_job(database, 4, 4)
    finish_all(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]
    assert ("finish", False) in work
    assert [name for name, inside in work if inside] == []


def test_a_hand_back_and_a_deadline(database: Database, work: list[tuple[str, bool]]) -> None:
    blocked_job(database, 8, 4)
    claims.hand_back(database, claim(database), "pause", partial(0, 4, 1))
    execute(database, "UPDATE job SET deadline_at = 1")
    lifecycle.sweep_jobs(database)
    assert rows(database, "SELECT example_no FROM example_result") == [(1,)]
    assert {name for name, _ in work} == {"compress", "savez_compressed", "to_columns", "prepare"}
    assert [name for name, inside in work if inside] == []
