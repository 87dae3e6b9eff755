"""Compatibility of code and schema, so that old and new processes can share a database.

The migrations of a release only expand the schema: they add tables, indexes, and columns that are
nullable or have a default. Older code continues to work. What is no longer read is removed by a
later release, which raises OLDEST_CODE. Tests enforce both rules.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, select

from db.schema import published
from db.transaction import Transaction

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
OLDEST_CODE = "0013"
"""The oldest revision whose code works on this schema. Raise it with a migration that contracts.

0013: a lease may be shortened until its shard is committed; earlier code did not check."""
SILENT_SECONDS = 120.0
"""A worker that has been silent for this long does not block a migration."""


WORKER_VERSIONS = """
SELECT name, versions FROM worker WHERE state <> 'stopped' AND seen_at > {clock} - :silent
ORDER BY name
"""
"""The releases of live workers, checked before a migration that older code would not survive."""

REVISION = "SELECT version_num FROM alembic_version"
"""The revision of a schema; Alembic writes it."""


class SchemaState(StrEnum):
    """State of a database's schema, compared with this code."""

    EMPTY = "there is no schema yet"
    OLDER = "the schema is older"
    CURRENT = "the schema is current"
    NEWER = "the schema is newer, and this release still works on it"
    TOO_NEW = "the schema is too new"

    @property
    def fits(self) -> bool:
        """True if this code works on it."""
        return self in (SchemaState.CURRENT, SchemaState.NEWER)


@cache
def alembic_config() -> Config:
    """Return Alembic's configuration for `db/migrations`."""
    # Needed to migrate only: with Mako it takes longer to import than a small command to run.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@cache
def known_revisions() -> tuple[str, ...]:
    """List the revisions that this code knows, oldest first: the numbers of their files."""
    return tuple(sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py")))


def code_revision() -> str:
    """Return the revision that this code was written for."""
    return known_revisions()[-1]


def schema_revision(tx: Transaction) -> str | None:
    """Read the revision of the database; None before the first migration."""
    if not inspect(tx.connection).has_table("alembic_version"):
        return None
    revision: str | None = tx.run(REVISION).scalar()
    return revision


def schema_state(tx: Transaction) -> SchemaState:
    """Compare the database's schema with this code."""
    revision = schema_revision(tx)
    if revision is None:
        return SchemaState.EMPTY
    if revision == code_revision():
        return SchemaState.CURRENT
    if revision in known_revisions():
        return SchemaState.OLDER
    oldest = _oldest_code(tx)
    fits = oldest is not None and oldest <= code_revision()
    return SchemaState.NEWER if fits else SchemaState.TOO_NEW


def describe(state: SchemaState, revision: str | None) -> str:
    """Describe a state for users, with its revisions and the remedy."""
    if state is SchemaState.CURRENT:
        return f"{state} ({revision})"
    if state in (SchemaState.EMPTY, SchemaState.OLDER):
        had = f" ({revision}; this release needs {code_revision()})" if revision else ""
        return f"{state}{had}: run `headwise migrate`"
    known = f"{state} ({revision}; this release knows {code_revision()})"
    return known if state.fits else f"{known}: upgrade headwise here"


def left_behind(tx: Transaction) -> list[str]:
    """List live workers whose code is older than OLDEST_CODE."""
    if not inspect(tx.connection).has_table("worker"):
        return []
    rows = tx.run(WORKER_VERSIONS, silent=SILENT_SECONDS)
    # The first release did not report its revision, which is 0005.
    return [
        name for name, versions in rows if json.loads(versions).get("schema", "0005") < OLDEST_CODE
    ]


def _oldest_code(tx: Transaction) -> str | None:
    columns = {column["name"] for column in inspect(tx.connection).get_columns(published.name)}
    if published.c.oldest_code.name not in columns:
        return None
    return tx.execute(select(published.c.oldest_code)).scalar()
