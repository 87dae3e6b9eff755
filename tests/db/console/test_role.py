"""PostgreSQL: the role of the console."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, select, text

from db.console.console import Console
from db.console.role import create_console_role
from db.database import CONSOLE_ROLE, Database
from jobs.errors import ConflictError, InputError, UnavailableError
from jobs.settings import Settings
from tests.db.console.conftest import PASSWORD, settings_of


def test_postgresql_needs_a_role(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://h/d")
    with pytest.raises(UnavailableError, match="--create-console-role"):
        Console(settings).run("SELECT 1")


def test_postgresql_that_does_not_answer(tmp_path: Path) -> None:
    url = "postgresql://headwise_console:secret@127.0.0.1:1/d"
    settings = Settings(home=tmp_path, database_url=url, console_url=url)
    with pytest.raises(UnavailableError, match="does not answer") as refused:
        Console(settings).run("SELECT 1")
    assert "secret" not in str(refused.value)


@pytest.mark.services
def test_the_role_of_an_administrator_is_refused(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=postgres_url, console_url=postgres_url)
    with pytest.raises(UnavailableError, match="more than the views"):
        Console(settings).run("SELECT 1")


@pytest.mark.services
def test_a_role_of_another_release_is_refused(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url)
    database.migrate()
    console = Console(settings_of(database, tmp_path))
    assert console.run("SELECT 1").rows == [(1,)]
    with database.write() as tx:
        tx.connection.exec_driver_sql("COMMENT ON SCHEMA headwise_console IS 'older'")
    database.close()
    with pytest.raises(UnavailableError, match=r"another release.*--create-console-role"):
        console.run("SELECT 1")


@pytest.mark.services
def test_the_role_is_made_and_made_again(empty_postgres_url: str) -> None:
    with pytest.raises(ConflictError, match="no current schema"):
        create_console_role(empty_postgres_url, PASSWORD)
    database = Database(empty_postgres_url)
    database.migrate()
    urls = {create_console_role(empty_postgres_url, PASSWORD) for _ in range(2)}
    [url] = [make_url(url) for url in urls]
    assert (url.username, url.password) == (CONSOLE_ROLE, PASSWORD)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as console:
        shown = {
            name: console.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
            for name in (
                "default_transaction_read_only",
                "lock_timeout",
                "log_min_messages",
                "search_path",
                "temp_file_limit",
            )
        }
        assert shown == {
            "default_transaction_read_only": "on",
            "lock_timeout": "2s",
            "log_min_messages": "fatal",
            "search_path": "headwise_console, pg_catalog, public, pg_temp",
            "temp_file_limit": "1GB",
        }
        row = console.execute(
            "SELECT rolsuper, rolinherit, rolcreatedb, rolcreaterole, rolreplication, "
            "rolconnlimit FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False, False, False, False, 8)
        console.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("SELECT lo_creat(-1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("INSERT INTO sites VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("SELECT * FROM job")
    database.close()


@pytest.mark.services
def test_an_owner_without_superpowers_still_migrates(empty_postgres_url: str) -> None:
    name = f"headwise_owner_{uuid.uuid4().hex[:12]}"
    owner = make_url(empty_postgres_url).set(username=name)
    admin = create_engine(empty_postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        try:
            connection.execute(text(f"GRANT CREATE ON SCHEMA public TO {name}"))
            database = Database(owner.render_as_string(hide_password=False))
            database.migrate()
            create_console_role(empty_postgres_url, PASSWORD)
            with database.write() as mine:
                mine.execute(select(text("pg_advisory_xact_lock(1)")))
            with pytest.raises(InputError, match="database_url"):  # may not make roles
                create_console_role(owner.render_as_string(hide_password=False), PASSWORD)
            database.close()
        finally:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


def test_a_role_needs_postgresql_and_a_password() -> None:
    with pytest.raises(InputError, match="only PostgreSQL"):
        create_console_role("sqlite:///x.sqlite", PASSWORD)
    with pytest.raises(InputError, match="must not be empty"):
        create_console_role("postgresql://h/d", "")
