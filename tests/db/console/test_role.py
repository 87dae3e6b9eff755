"""PostgreSQL: the role of the console."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from db.console.console import Console
from db.console.postgresql.role import LONGEST_NAME, console_role, create_console_role
from db.database import Database
from jobs.errors import ConflictError, InputError, UnavailableError
from jobs.settings import Settings
from tests.db.console.conftest import PASSWORD, settings_of
from tests.helpers import services
from tests.helpers.databases import PostgresDatabases, sqlalchemy_url


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
    assert (url.username, url.password) == (f"{url.database}_console", PASSWORD)
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


class Ordinary:
    """An ordinary role that owns a migrated database, and an administrator of the server."""

    def __init__(self, url: str) -> None:
        self.name = f"headwise_owner_{uuid.uuid4().hex[:12]}"
        self.url = make_url(url).set(username=self.name).render_as_string(hide_password=False)
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")
        self.database = str(make_url(url).database)
        self.administer(f"CREATE ROLE {self.name} LOGIN CREATEROLE")
        self.administer(f"ALTER DATABASE {self.database} OWNER TO {self.name}")
        database = Database(self.url)
        database.migrate()
        database.close()

    def administer(self, statements: str) -> None:
        with self._admin.connect() as connection:
            for statement in filter(None, statements.split(";")):
                connection.execute(text(statement))

    def value(self, query: str) -> object:
        with self._admin.connect() as connection:
            return connection.execute(text(query)).scalar()

    def make(self) -> str:
        return create_console_role(self.url, PASSWORD)

    def remedy(self) -> str:
        """The statements that the refusal names."""
        with pytest.raises(InputError, match="Let a superuser run in this database: ") as refused:
            self.make()
        assert "\n" not in str(refused.value)
        return str(refused.value).partition("in this database: ")[2].rstrip(".")

    def close(self) -> None:
        admin = make_url(str(self._admin.url)).username
        self.administer(f"ALTER DATABASE {self.database} OWNER TO {admin}")
        self.administer(f"DROP OWNED BY {self.name} CASCADE; DROP ROLE {self.name}")
        self._admin.dispose()


@pytest.fixture
def ordinary(empty_postgres_url: str) -> Iterator[Ordinary]:
    made = Ordinary(empty_postgres_url)
    yield made
    made.close()


def answers(address: str, database_url: str, folder: Path) -> bool:
    settings = Settings(home=folder, database_url=database_url, console_url=address)
    return Console(settings).run("SELECT 'a' || count(*) FROM jobs").rows == [("a0",)]


@pytest.mark.services
def test_an_owner_makes_the_role_again_and_again(ordinary: Ordinary, tmp_path: Path) -> None:
    needed = ordinary.remedy()
    granted = f"GRANT SET ON PARAMETER temp_file_limit, log_min_messages TO {ordinary.name};"
    assert needed == granted
    role = console_role(ordinary.database)
    assert not ordinary.value(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'")
    ordinary.administer(needed)
    made = {ordinary.make() for _ in range(2)}
    [address] = made
    assert answers(address, ordinary.url, tmp_path)
    # What its role is and its password are right: who made them needs no rights any more.
    ordinary.administer(f"ALTER ROLE {ordinary.name} NOCREATEROLE")
    ordinary.administer("COMMENT ON SCHEMA headwise_console IS 'older'")
    assert ordinary.make() == address
    assert answers(address, ordinary.url, tmp_path)
    ordinary.administer(f"ALTER ROLE {role} RESET lock_timeout")
    assert ordinary.remedy() == f"ALTER ROLE {ordinary.name} CREATEROLE;"


@pytest.mark.services
def test_an_owner_goes_on_where_a_superuser_began(
    ordinary: Ordinary, empty_postgres_url: str, tmp_path: Path
) -> None:
    address = create_console_role(empty_postgres_url, PASSWORD)
    ordinary.make()
    assert answers(address, ordinary.url, tmp_path)
    # As earlier releases left it: the schema is the superuser's.
    ordinary.administer("ALTER SCHEMA headwise_console OWNER TO CURRENT_USER")
    ordinary.make()
    ordinary.administer("COMMENT ON SCHEMA headwise_console IS 'older'")
    needed = ordinary.remedy()
    assert needed == f"ALTER SCHEMA headwise_console OWNER TO {ordinary.name};"
    ordinary.administer(needed)
    ordinary.make()
    assert answers(address, ordinary.url, tmp_path)


@pytest.mark.services
def test_attributes_that_the_role_got_are_taken_away(empty_postgres_url: str) -> None:
    with_schema(empty_postgres_url)
    create_console_role(empty_postgres_url, PASSWORD)
    database = Database(empty_postgres_url)
    role = console_role(str(database.engine.url.database))
    with database.write() as tx:
        tx.run_as_is(f"ALTER ROLE {role} CREATEDB REPLICATION")
        tx.run_as_is(f"GRANT SELECT ON job TO {role}")
        tx.run_as_is(f"GRANT SELECT (name) ON worker TO {role}")
    create_console_role(empty_postgres_url, PASSWORD)
    found = database.rows(
        "SELECT rolcreatedb OR rolreplication AS more, has_table_privilege(oid, 'job', 'SELECT') "
        "OR has_column_privilege(oid, 'worker', 'name', 'SELECT') AS tables "
        "FROM pg_roles WHERE rolname = :role",
        role=role,
    )
    assert [dict(row) for row in found] == [{"more": False, "tables": False}]
    database.close()


def with_schema(url: str) -> str:
    database = Database(url)
    database.migrate()
    database.close()
    return url


@pytest.mark.services
def test_databases_of_a_server_have_roles_of_their_own(
    postgres_databases: PostgresDatabases, tmp_path: Path
) -> None:
    with postgres_databases.empty() as one, postgres_databases.empty() as two:
        urls = [with_schema(sqlalchemy_url(postgres_databases.server, name)) for name in (one, two)]
        first, second = (create_console_role(url, PASSWORD) for url in urls)
        assert answers(first, urls[0], tmp_path)
        assert answers(second, urls[1], tmp_path)
        assert make_url(first).username != make_url(second).username
        there = make_url(first).set(database=two, drivername="postgresql")
        with (
            psycopg.connect(there.render_as_string(hide_password=False)) as console,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            console.execute("SELECT * FROM jobs")
        with pytest.raises(InputError, match=f"role of the database {one}.*such as {two}_console"):
            create_console_role(urls[1], PASSWORD, console_role(one))


@pytest.mark.services
def test_installations_that_share_a_role_keep_it(
    postgres_databases: PostgresDatabases, tmp_path: Path
) -> None:
    with postgres_databases.empty() as one, postgres_databases.empty() as two:
        urls = [with_schema(sqlalchemy_url(postgres_databases.server, name)) for name in (one, two)]
        shared = console_role(one)
        create_console_role(urls[0], PASSWORD, shared)
        make = create_console_role(urls[1], PASSWORD)
        database = Database(urls[1])
        with database.write() as tx:  # as earlier releases did in every database
            tx.run_as_is(f"GRANT USAGE ON SCHEMA headwise_console TO {shared}")
            tx.run("UPDATE published SET views_hash = 'older'")
        database.migrate()
        database.close()
        old = make_url(make).set(username=shared).render_as_string(hide_password=False)
        assert answers(old, urls[1], tmp_path)
        create_console_role(urls[1], PASSWORD, shared)
        create_console_role(urls[1], PASSWORD)
        assert answers(old, urls[1], tmp_path)
        assert answers(make, urls[1], tmp_path)


@pytest.mark.services
def test_a_role_of_something_else_is_left_alone(ordinary: Ordinary) -> None:
    with pytest.raises(InputError, match="was not made for the SQL console") as refused:
        create_console_role(ordinary.url, PASSWORD, ordinary.name)
    assert f"such as {ordinary.database}_console" in str(refused.value)


def test_a_name_has_at_most_63_bytes() -> None:
    assert console_role("headwise") == "headwise_console"
    names = {console_role(start + "ä" * 31) for start in ("a", "b")}
    assert len(names) == 2
    assert all(len(name.encode()) <= LONGEST_NAME for name in names)


@contextmanager
def reader(database: Database) -> Iterator[str]:
    """The address of a role that may read everything."""
    name = f"headwise_reader_{uuid.uuid4().hex[:12]}"
    with database.write() as tx:
        tx.run_as_is(f"CREATE ROLE {name} LOGIN IN ROLE pg_read_all_data")
    try:
        url = database.engine.url.set(username=name, drivername="postgresql")
        yield url.render_as_string(hide_password=False)
    finally:
        with database.write() as tx:
            tx.run_as_is(f"DROP ROLE {name}")


@pytest.mark.services
def test_a_role_that_reads_everything_can_dump(empty_postgres_url: str, tmp_path: Path) -> None:
    database = Database(with_schema(empty_postgres_url))
    address = create_console_role(empty_postgres_url, PASSWORD)
    with database.write() as tx:  # earlier releases took it from everybody
        tx.run_as_is("REVOKE EXECUTE ON FUNCTION set_config FROM pg_read_all_data")
    dump = [services.binary("pg_dump") or "", "--format=custom", f"--file={tmp_path / 'dump'}"]
    with reader(database) as url:
        refused = subprocess.run([*dump, url], capture_output=True, text=True)
        assert "permission denied for function set_config" in refused.stderr
        create_console_role(empty_postgres_url, PASSWORD)
        subprocess.run([*dump, "--jobs=1", url], check=True)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT pg_export_snapshot()").fetchone()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT pg_read_file('postgresql.conf')")
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as console:
        for call in ("set_config('lock_timeout', '0', false)", "pg_export_snapshot()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                console.execute(f"SELECT {call}")
    database.close()


def test_a_role_needs_postgresql_and_a_password() -> None:
    with pytest.raises(InputError, match="only PostgreSQL"):
        create_console_role("sqlite:///x.sqlite", PASSWORD)
    with pytest.raises(InputError, match="must not be empty"):
        create_console_role("postgresql://h/d", "")
