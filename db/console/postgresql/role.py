"""The PostgreSQL role of the SQL console: it may read the published views and do nothing else.

Every database has a role of its own, because a role belongs to the whole server.
"""

from __future__ import annotations

import hashlib
import random
import time

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from db.console.postgresql import bounded
from db.console.postgresql.allowed import BOUNDED
from db.console.postgresql.functions import take_functions
from db.console.postgresql.grants import console_roles, grant_views
from db.console.postgresql.rights import Plan, plan, settings_of
from db.database import Database
from db.transaction import Transaction
from jobs.errors import ConflictError, refuse

CONNECTIONS = 8
"""Concurrent queries of the console, over all of its processes."""
LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""
_SUFFIX = "_console"
# What was granted to the role, on tables and on columns.
_READABLE = """
SELECT DISTINCT c.oid::regclass::text FROM pg_class c JOIN pg_roles r ON r.rolname = :role
WHERE c.relnamespace = current_schema()::regnamespace
AND (EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = r.oid)
    OR EXISTS (SELECT FROM pg_attribute t CROSS JOIN aclexplode(t.attacl) a
        WHERE t.attrelid = c.oid AND a.grantee = r.oid))
"""
_OWNER = (
    "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass('job')"
)
_OTHER_DATABASES = """
SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
JOIN pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass
WHERE r.rolname = :role AND d.datname <> current_database() ORDER BY 1
"""


def console_role(database: str) -> str:
    """Name the console's role of a database: `<database>_console`."""
    name = database.encode()
    if len(name) + len(_SUFFIX) > LONGEST_NAME:
        digest = hashlib.sha256(name).hexdigest()[:8]
        start = name[: LONGEST_NAME - len(_SUFFIX) - 9].decode(errors="ignore")
        database = f"{start}_{digest}"
    return database + _SUFFIX


def create_console_role(database_url: str, password: str, role: str | None = None) -> str:
    """Create or update the console's role and return the address for HEADWISE_CONSOLE_URL.

    database_url: address of the owner of the tables, or of a superuser. Only a superuser can take
        the dangerous functions of PostgreSQL from the role; that they stay is logged.
    role: its name; by default that of `console_role`

    Raises InputError (not PostgreSQL, no password, a role of something else, insufficient rights,
    with the statements that an administrator must run), ConflictError (no schema yet) and
    UnavailableError.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        raise refuse("HEADWISE_DATABASE_URL", url.drivername, "only PostgreSQL has roles")
    if not password:
        raise refuse("password", None, "must not be empty")
    database = Database(url.set(drivername="postgresql+psycopg").render_as_string(False))
    try:
        if not database.schema_is_current():
            raise ConflictError("The database has no current schema. Start Headwise once, first.")
        role = role or console_role(str(database.value("SELECT current_database()")))
        address = database.engine.url.set(username=role, password=password)
        _retry(database, address)
    finally:
        database.close()
    return address.render_as_string(hide_password=False)


def _retry(database: Database, address: URL) -> None:
    """Retry: another process may make the role, or change rights of the same functions, now."""
    for attempt in range(10):
        try:
            with database.write() as tx:
                _make(tx, address)
            return
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == "42501":
                remedy = "Use the address of the owner of the tables, or of an administrator."
                user = database.engine.url.username
                raise refuse("HEADWISE_DATABASE_URL", user, str(error.orig), remedy) from error
            # XX000 "tuple concurrently updated", or the other one's CREATE ROLE came first.
            if state not in ("XX000", "23505", "42710") or attempt == 9:
                raise
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - no secret


def _make(tx: Transaction, address: URL) -> None:
    role, password = str(address.username), str(address.password)
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    found = plan(tx, role, plain)
    _check_name(tx, role, found)
    if found.lacking:
        who = f"{found.maker.me} may not make the SQL console's role"
        remedy = f"Let a superuser run in this database: {'; '.join(found.lacking)};"
        raise refuse("HEADWISE_DATABASE_URL", None, who, remedy)
    if found.alter:
        _write_role(tx, found, role, password)
    users = {found.maker.role} - set(console_roles(tx))
    if found.build:
        users |= set(console_roles(tx))
        _build(tx)
    if users:
        tx.run_as_is(f"GRANT USAGE ON SCHEMA {BOUNDED} TO {', '.join(sorted(users))}")
    for name in tx.run(_READABLE, role=role).scalars().all():
        tx.run_as_is(f"REVOKE ALL ON {name} FROM {found.maker.role}")
    tx.run_as_is(f"GRANT USAGE ON SCHEMA {found.maker.schema} TO {found.maker.role}")
    grant_views(tx)
    take_functions(tx, role)


def _check_name(tx: Transaction, role: str, found: Plan) -> None:
    """Refuse a role that is something else's, or another database's."""
    if found.role is None:
        return
    own = console_role(str(tx.run("SELECT current_database()").scalar()))
    made_for_console = settings_of(found.role).get("search_path", "").startswith(f"{BOUNDED},")
    if found.role["rolsuper"] or (found.role["rolcanlogin"] and not made_for_console):
        what = "is a role that was not made for the SQL console"
        raise refuse("HEADWISE_CONSOLE_URL", role, what, f"Name another role, such as {own}.")
    others = tx.run(_OTHER_DATABASES, role=role).scalars().all()
    if others and found.maker.role not in console_roles(tx):
        what = f"is the SQL console's role of the database {', '.join(others)}"
        remedy = f"Every database has its own: name another one, such as {own}."
        raise refuse("HEADWISE_CONSOLE_URL", role, what, remedy)


def _write_role(tx: Transaction, found: Plan, role: str, password: str) -> None:
    # The server gets a verifier only: statements end up in its log.
    verifier = tx.driver_connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    name, verb = found.maker.role, "CREATE" if found.role is None else "ALTER"
    tx.run_as_is(
        f"{verb} ROLE {name} LOGIN NOINHERIT {' '.join(found.unwanted)} "
        f"CONNECTION LIMIT {CONNECTIONS} PASSWORD '{verifier}'"
    )
    for setting, value in found.settings.items():
        shown = value if setting == "search_path" else f"'{value}'"
        tx.run_as_is(f"ALTER ROLE {name} SET {setting} = {shown}")


def _build(tx: Transaction) -> None:
    """Make the schema of the bounded functions, for the owner of the tables."""
    for statement in bounded.statements():
        tx.run_as_is(statement)
    tx.run_as_is(f"COMMENT ON SCHEMA {BOUNDED} IS '{bounded.version()}'")
    tx.run_as_is(f"ALTER SCHEMA {BOUNDED} OWNER TO {tx.run(_OWNER).scalar()}")
