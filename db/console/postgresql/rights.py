"""Rights that the console's role needs, and those that the role which makes it lacks.

A superuser may do everything. An ordinary role needs CREATEROLE, the right to set two parameters
that PostgreSQL keeps for superusers, and the schema of the bounded functions. From PostgreSQL 16 on
CREATEROLE is for roles that it made itself, and for those that it has the ADMIN option on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from db.console.postgresql import bounded
from db.console.postgresql.allowed import BOUNDED
from db.console.postgresql.grants import console_roles
from db.transaction import Transaction

_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "600s",  # the console sets its own, shorter
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "60s",
    "client_connection_check_interval": "1s",  # stop when the client is gone
}
_RESTRICTED = {
    "temp_file_limit": "1GB",
    # Neither what strangers write nor the trees of their queries fill the server's log.
    "log_min_messages": "fatal",
}
"""Settings that PostgreSQL keeps for superusers and those whom they allow to set them."""
_UNWANTED = {
    "rolsuper": "NOSUPERUSER",
    "rolcreatedb": "NOCREATEDB",
    "rolcreaterole": "NOCREATEROLE",
    "rolreplication": "NOREPLICATION",
    "rolbypassrls": "NOBYPASSRLS",
}
"""Attributes that the role must not have. Who lacks one may not even name it."""

_MAKER = """
SELECT quote_ident(current_user) AS me, quote_ident(current_database()) AS database,
    quote_ident(current_schema()) AS schema, quote_ident(:role) AS role,
    current_setting('server_version_num')::integer / 10000 AS server, rolsuper AS superuser,
    rolcreaterole AS makes_roles,
    has_database_privilege(current_database(), 'CREATE') AS makes_schemas
FROM pg_roles WHERE rolname = current_user
"""
_ROLE = """
SELECT *, pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION') AS administered
FROM pg_roles WHERE rolname = :role
"""
_SCHEMA = """
SELECT obj_description(oid, 'pg_namespace') AS version, pg_has_role(nspowner, 'USAGE') AS mine
FROM pg_namespace WHERE nspname = :schema
"""
_SETTABLE = "SELECT has_parameter_privilege(:name, 'SET')"


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The role that makes the console's, and where. Names are quoted."""

    me: str
    database: str
    schema: str
    role: str
    server: int
    """Major version of the server."""
    superuser: bool
    makes_roles: bool
    makes_schemas: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The statements to run, and those that an administrator has to run before."""

    maker: Maker
    role: dict[str, object] | None
    """The row of pg_roles; None for a role that is not there."""
    settings: dict[str, str]
    """Settings that the role lacks."""
    unwanted: tuple[str, ...]
    """Attributes to take away from it."""
    alter: bool
    """Create or change the role itself; False if it is right and its password works."""
    build: bool
    """Make the schema of the bounded functions anew."""
    lacking: tuple[str, ...]
    """Statements that an administrator must run first."""


def plan(tx: Transaction, role: str, address: str) -> Plan:
    """Compare the console's role with what it should be.

    address: of the role, with its password, as psycopg takes it
    """
    maker = Maker(**tx.rows(_MAKER, role=role)[0])
    row = next(map(dict, tx.rows(_ROLE, role=role)), None)
    settings = _missing_settings(maker, row)
    unwanted = tuple(no for name, no in _UNWANTED.items() if (row or {}).get(name))
    right = row is not None and not settings and not unwanted
    alter = _may_alter(maker, row) or not right or not _logs_in(address)
    schema = next(iter(tx.rows(_SCHEMA, schema=BOUNDED)), None)
    build = schema is None or schema["version"] != bounded.version()
    lacking: list[str] = []
    if not maker.superuser:
        if alter:
            lacking += _for_role(maker, row)
        lacking += _for_settings(tx, maker, row, settings)
        if build and not maker.makes_schemas:
            lacking.append(f"GRANT CREATE ON DATABASE {maker.database} TO {maker.me}")
        grants = build or maker.role not in console_roles(tx)
        if schema is not None and not schema["mine"] and grants:
            lacking.append(f"ALTER SCHEMA {BOUNDED} OWNER TO {maker.me}")
    return Plan(
        maker=maker,
        role=row,
        settings=settings,
        unwanted=unwanted,
        alter=alter,
        build=build,
        lacking=tuple(lacking),
    )


def settings_of(row: dict[str, object] | None) -> dict[str, str]:
    """The settings of a role, by name."""
    config = (row or {}).get("rolconfig") or ()
    parts = (str(one).partition("=") for one in config)  # type: ignore[attr-defined]
    return {name: value for name, _, value in parts}


def _missing_settings(maker: Maker, row: dict[str, object] | None) -> dict[str, str]:
    path = f"{BOUNDED}, pg_catalog, {maker.schema}, pg_temp"
    wanted = {**_SETTINGS, **_RESTRICTED, "search_path": path}
    have = settings_of(row)
    return {name: value for name, value in wanted.items() if have.get(name) != value}


def _may_alter(maker: Maker, row: dict[str, object] | None) -> bool:
    """The maker may create or change the role."""
    administered = row is None or maker.server < 16 or bool(row["administered"])
    return maker.superuser or (maker.makes_roles and administered)


def _logs_in(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _for_role(maker: Maker, row: dict[str, object] | None) -> Iterator[str]:
    if not maker.makes_roles:
        yield f"ALTER ROLE {maker.me} CREATEROLE"
    if row is not None and maker.server >= 16 and not row["administered"]:
        yield f"GRANT {maker.role} TO {maker.me} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"


def _for_settings(
    tx: Transaction, maker: Maker, row: dict[str, object] | None, settings: dict[str, str]
) -> Iterator[str]:
    restricted = [name for name in _RESTRICTED if name in settings]
    if maker.server >= 15:
        lacking = [name for name in restricted if not tx.run(_SETTABLE, name=name).scalar()]
        if lacking:
            yield f"GRANT SET ON PARAMETER {', '.join(lacking)} TO {maker.me}"
        return
    if restricted and row is None:
        yield f"CREATE ROLE {maker.role}"
    for name in restricted:
        yield f"ALTER ROLE {maker.role} SET {name} = '{_RESTRICTED[name]}'"
