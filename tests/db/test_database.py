"""Connections and transactions."""

from __future__ import annotations

import threading

from sqlalchemy import text

from db.database import Database
from tests.helpers.jobs import (
    planned_job,
)


def test_migrating_twice_and_at_once_is_harmless(database: Database) -> None:
    errors: list[BaseException] = []

    def migrate() -> None:
        mine = Database(database.url)
        try:
            mine.migrate()
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert database.schema_is_current()


def test_reading_does_not_wait_for_whoever_writes(database: Database) -> None:
    job = planned_job(database)
    with database.write() as writing:
        writing.execute(text("UPDATE job SET name = 'other'"))
        with database.read() as reading:
            names = reading.execute(text("SELECT id, name FROM job")).all()
    assert [tuple(row) for row in names] == [(job, "test")]
