"""The pace that a worker remembers for each shape of model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.queue.ask import Shape
from db.queue.claims import Claim
from jobs.settings import Settings
from tests.helpers.databases import sqlite_database
from workers.worker import Worker

SMALL: Shape = ("attribution", 2, 3)
LARGE: Shape = ("attribution", 12, 12)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    settings = Settings(home=tmp_path, threads=1, device="cpu")
    database = sqlite_database(tmp_path / "headwise.sqlite")
    yield Worker(settings, database)
    database.close()


def held(shape: Shape) -> Claim:
    return Claim(job_id=1, shard_no=0, fence=1, lo=0, hi=8, shape=shape)


def test_the_newest_shard_counts_half(worker: Worker) -> None:
    paces = []
    for measured in (4.0, 2.0, 1.0):
        worker._update_pace(held(SMALL), measured)
        paces.append(worker._ask().paces[SMALL])
    assert paces == [4.0, 3.0, 2.0]


def test_models_of_another_shape_have_a_pace_of_their_own(worker: Worker) -> None:
    worker._update_pace(held(SMALL), 4.0)
    worker._update_pace(held(LARGE), 20.0)
    assert worker._ask().paces == {SMALL: 4.0, LARGE: 20.0}
