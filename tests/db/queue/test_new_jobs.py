"""Jobs that are there already."""

from __future__ import annotations

import threading

from db.database import Database
from db.queue import new_jobs
from tests.helpers.databases import one
from tests.helpers.jobs import (
    job_values,
    planned_job,
)
from tests.helpers.queue import (
    finish_all,
)


def test_the_same_idempotency_key_is_one_job(database: Database) -> None:
    first = new_jobs.create_job(database, job_values(idempotency_key="k"), None)
    assert new_jobs.create_job(database, job_values(idempotency_key="k"), None) == first
    other = new_jobs.create_job(database, job_values(idempotency_key="k", user_name="other"), None)
    assert other != first


def test_the_same_work_twice_at_once_is_one_job(database: Database) -> None:
    made: list[int] = []

    def make() -> None:
        mine = Database(database.url)
        made.append(new_jobs.create_job(mine, job_values(dedupe_key="same"), None))
        mine.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert one(database, "SELECT COUNT(*) FROM jobs") == 1


def test_finished_work_may_be_done_again(database: Database) -> None:
    first = planned_job(database, dedupe_key="same")
    finish_all(database)
    assert new_jobs.create_job(database, job_values(dedupe_key="same"), None) != first
