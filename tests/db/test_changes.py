"""Hearing of the commits of others, on both databases."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from db.changes import Announcements, Changes, FileChanges, changes_of
from db.database import Database
from db.queue import claims
from scheduler.submission.control import control
from tests.helpers.jobs import ALICE, planned_job
from tests.helpers.scheduling import commit_everything

LONG = 600.0
"""Seconds that no test waits for."""


@pytest.fixture
def changes(database: Database) -> Iterator[Changes]:
    """The changes of a database, as another process that has been listening hears them."""
    found = changes_of(database)
    found.wait(LONG, threading.Event())
    yield found
    found.close()


def heard(changes: Changes, act: Callable[[], object] = lambda: None) -> bool:
    """Return True if the wait ends by what `act` does, which comes while it lasts."""
    waiting = threading.Thread(target=changes.wait, args=(LONG, stop := threading.Event()))
    waiting.start()
    act()
    waiting.join(5)
    ended = not waiting.is_alive()
    stop.set()
    waiting.join()
    return ended


def test_a_new_job_a_request_and_the_end_of_a_shard_are_heard(
    database: Database, changes: Changes
) -> None:
    job = planned_job(database, size=6)  # one shard
    assert heard(changes)
    assert heard(changes, lambda: control(database, job, "pause"))
    assert heard(changes, lambda: control(database, job, "resume"))
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert heard(changes, lambda: claims.hand_back(database, held, "the worker stops"))
    assert heard(changes, lambda: commit_everything(database))


@pytest.mark.services
def test_only_what_is_announced_is_heard_on_postgresql(postgres_url: str) -> None:
    """A shard of many that is done leaves nothing to do, and its commit waits for no other."""
    database = Database(postgres_url)
    database.migrate()
    planned_job(database, size=2)  # three shards
    notified: list[str] = []
    with database.engine.connect() as listening:
        driver = listening.connection.driver_connection
        driver.add_notify_handler(lambda notify: notified.append(notify.channel))
        listening.execute(text("LISTEN headwise"))
        listening.commit()
        commit_everything(database)
        listening.execute(text("SELECT 1"))
    assert notified == ["headwise"]
    database.close()


def test_a_wait_ends_when_the_loop_is_to_stop(changes: Changes) -> None:
    stop = threading.Event()
    stop.set()
    changes.wait(LONG, stop)


def test_a_file_that_takes_the_place_of_another_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "one.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
    changes = FileChanges(str(file))
    changes.wait(LONG, threading.Event())
    shutil.copy(file, tmp_path / "other.sqlite")
    (tmp_path / "other.sqlite").replace(file)
    changes.wait(LONG, threading.Event())

    def write() -> None:
        with closing(sqlite3.connect(file)) as other, other:
            other.execute("INSERT INTO t VALUES (1)")

    assert heard(changes, write)
    file.unlink()
    changes.wait(LONG, threading.Event())
    changes.wait(0.01, threading.Event())
    assert not file.exists()  # it is looked at, not made
    changes.close()


@pytest.mark.services
def test_a_lost_connection_costs_one_wait_and_is_made_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.migrate()
    changes = changes_of(database)
    assert isinstance(changes, Announcements)
    changes.wait(LONG, threading.Event())
    with database.write() as tx:
        pid = changes._listening().info.backend_pid
        tx.run("SELECT pg_terminate_backend(:pid)", pid=pid)
    changes.wait(0.1, threading.Event())
    changes.wait(LONG, threading.Event())
    assert heard(changes, lambda: planned_job(database))
    changes.close()
    database.close()
