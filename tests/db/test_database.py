"""Connections and transactions."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import make_url, text

from db.database import Database, _connect_args
from db.transaction import Transaction
from jobs.errors import UnavailableError
from tests.helpers.jobs import planned_job


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


@pytest.mark.services
def test_no_session_of_postgresql_waits_for_ever(postgres_url: str) -> None:
    def shown(tx: Transaction, *names: str) -> list[str]:
        return [str(tx.run(f"SHOW {name}").scalar()) for name in names]

    waits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    database = Database(postgres_url)
    with database.read() as tx:
        assert shown(tx, *waits) == ["10s", "2min", "10min"]
        assert "0" not in shown(tx, "tcp_keepalives_idle", "client_connection_check_interval")
    with database.write() as tx:
        assert shown(tx, *waits) == ["10s", "2min", "1min"]
    with database.read() as tx:
        assert shown(tx, *waits) == ["10s", "2min", "10min"]
    database.close()
    ours = f"{postgres_url}?connect_timeout=3&options=-c%20lock_timeout%3D3s"
    assert _connect_args(make_url(ours))["keepalives_idle"] == 15
    assert "connect_timeout" not in _connect_args(make_url(ours))
    database = Database(ours)
    with database.read() as tx:
        assert shown(tx, *waits) == ["3s", "2min", "10min"]
    database.close()


@pytest.mark.services
@pytest.mark.parametrize(
    ("limit", "statement"),
    [
        ("idle_in_transaction_session_timeout", "SELECT 1"),
        ("statement_timeout", "SELECT pg_sleep(60)"),
    ],
)
def test_a_session_that_was_ended_is_a_database_that_does_not_answer(
    postgres_url: str, limit: str, statement: str
) -> None:
    database = Database(postgres_url)

    def stand_still() -> None:
        with database.write() as tx:
            tx.run(f"SET LOCAL {limit} = '50ms'")
            time.sleep(0.5)
            tx.run(statement)

    with pytest.raises(UnavailableError):
        stand_still()
    with database.read() as tx:
        assert tx.run("SELECT 1").scalar() == 1
    database.close()
