"""The PostgreSQL role of the SQL console: it may read the published views and do nothing else."""

from __future__ import annotations

import logging
import random
import time

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from db.console import bounded
from db.console.allowed import BOUNDED
from db.database import CONSOLE_ROLE, Database, grant_console
from db.transaction import Transaction
from jobs.errors import ConflictError, refuse

CONNECTIONS = 8
"""Concurrent queries of the console, over all of its processes."""

_SETTINGS = (
    "default_transaction_read_only = on",
    "statement_timeout = '600s'",  # the console sets its own, shorter
    "lock_timeout = '2s'",
    "idle_in_transaction_session_timeout = '60s'",
)
_OPTIONAL_SETTINGS = (
    "temp_file_limit = '1GB'",  # superusers only
    # Neither what strangers write nor the trees of their queries fill the server's log.
    "log_min_messages = fatal",  # superusers only
    "client_connection_check_interval = '1s'",  # from PostgreSQL 14: stop when the client is gone
)

# Names of functions that a read-only transaction does not prevent, in every schema and with all
# overloads: large objects, locks that outlive a statement, settings (including the time limit),
# messages, WAL records, sleeping, functions that run text as SQL, other sessions, other servers.
_DANGEROUS = (
    r"^(lo_.*|lowrite|loread|pg_(try_)?advisory_.*|set_config|pg_notify|pg_sleep.*"
    r"|.*_to_xml|.*_to_xmlschema|.*_to_xml_and_xmlschema|ts_stat|ts_rewrite"
    r"|pg_(cancel|terminate)_backend|pg_export_snapshot|pg_logical_.*|pg_replication_.*"
    r"|pg_create_.*|pg_drop_.*|pg_current_xact_id|txid_current|pg_read_.*|pg_ls_.*"
    r"|pg_stat_file|pg_stat_reset.*|dblink.*)$"
)
_EXECUTABLE = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.prokind = 'f' AND p.proname ~ :names AND has_function_privilege(:role, p.oid, 'EXECUTE')
ORDER BY 1
"""
# The owner keeps the functions: migrations take an advisory lock.
_OWNERS = """
SELECT DISTINCT quote_ident(r.rolname) FROM pg_roles r WHERE NOT r.rolsuper AND (
    r.rolname = current_user
    OR r.oid IN (SELECT relowner FROM pg_class WHERE oid = to_regclass('job'))
)
"""

_log = logging.getLogger(__name__)


def create_console_role(database_url: str, password: str) -> str:
    """Create or update the console's role and return the address for HEADWISE_CONSOLE_URL.

    database_url: address of an administrator, best a superuser: only the owner of the functions of
        PostgreSQL can revoke the dangerous ones from PUBLIC; those that stay are logged

    The role belongs to the whole server, its rights on functions and views to this database.

    Raises InputError (not PostgreSQL, no password, insufficient rights), ConflictError (no schema
    yet) and UnavailableError.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        raise refuse("database_url", url.drivername, "only PostgreSQL has roles")
    if not password:
        raise refuse("password", None, "must not be empty")
    database = Database(url.set(drivername="postgresql+psycopg").render_as_string(False))
    try:
        if not database.schema_is_current():
            raise ConflictError("The database has no current schema. Start Headwise once, first.")
        _retry(database, password)
    finally:
        database.close()
    console = database.engine.url.set(username=CONSOLE_ROLE, password=password)
    return console.render_as_string(hide_password=False)


def _retry(database: Database, password: str) -> None:
    """Retry: a server shares roles among its databases, and another one may change them now."""
    for attempt in range(10):
        try:
            with database.write() as tx:
                _make(tx, password)
            return
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == "42501":
                remedy = "Use the address of an administrator of the server."
                user = database.engine.url.username
                raise refuse("database_url", user, str(error.orig), remedy) from error
            # XX000 "tuple concurrently updated", or the other one's CREATE ROLE came first.
            if state not in ("XX000", "23505", "42710") or attempt == 9:
                raise
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - no secret


def _make(tx: Transaction, password: str) -> None:
    run = tx.connection.exec_driver_sql
    driver = tx.driver_connection
    # The server gets a verifier only: statements end up in its log.
    verifier = driver.pgconn.encrypt_password(
        password.encode(), CONSOLE_ROLE.encode(), b"scram-sha-256"
    ).decode()
    exists = tx.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=CONSOLE_ROLE).scalar()
    verb = "ALTER" if exists else "CREATE"
    run(
        f"{verb} ROLE {CONSOLE_ROLE} LOGIN NOSUPERUSER NOINHERIT NOCREATEDB NOCREATEROLE "
        f"NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {CONNECTIONS} PASSWORD '{verifier}'"
    )
    schema = tx.run("SELECT quote_ident(current_schema())").scalar()
    for setting in (*_SETTINGS, f"search_path = {BOUNDED}, pg_catalog, {schema}, pg_temp"):
        run(f"ALTER ROLE {CONSOLE_ROLE} SET {setting}")
    for setting in _OPTIONAL_SETTINGS:
        run("SAVEPOINT setting")
        try:
            run(f"ALTER ROLE {CONSOLE_ROLE} SET {setting}")
        except DBAPIError as error:
            run("ROLLBACK TO SAVEPOINT setting")
            _log.warning("The console's role goes without %s: %s", setting, error.orig)
    run(f"GRANT USAGE ON SCHEMA {schema} TO {CONSOLE_ROLE}")
    run(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {CONSOLE_ROLE}")
    grant_console(tx)
    for statement in bounded.statements():
        run(statement.replace("%", "%%"))
    run(f"COMMENT ON SCHEMA {BOUNDED} IS '{bounded.version()}'")
    run(f"GRANT USAGE ON SCHEMA {BOUNDED} TO {CONSOLE_ROLE}")
    _revoke_functions(tx)


def _revoke_functions(tx: Transaction) -> None:
    def executable() -> list[str]:
        return list(tx.run(_EXECUTABLE, names=_DANGEROUS, role=CONSOLE_ROLE).scalars())

    functions = ", ".join(executable())
    if not functions:
        return
    for owner in tx.run(_OWNERS).scalars().all():
        tx.run(f"GRANT EXECUTE ON FUNCTION {functions} TO {owner}")
    tx.run(f"REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC")
    if left := executable():
        _log.warning("Only a superuser can take these from the console: %s", ", ".join(left))
