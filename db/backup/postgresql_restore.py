"""Restoring a PostgreSQL database in one transaction of psql.

What is in the schema is dropped, the dump is loaded, and its content is compared with the manifest
before the transaction is committed: until then, and after any error, everything is as it was.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from db.backup import postgresql, programs
from db.backup.manifest import CopyError, Manifest, Progress, quoted
from db.database import Database
from db.transaction import Transaction
from jobs.errors import ConflictError, UnavailableError, refuse
from jobs.formatting import counted

BLOCK = 1 << 20
LOCK_SECONDS = 30
"""Longest wait for processes that read from the tables."""
_OBJECTS = """
SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
    WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, quote_ident(relname)
FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT relispartition
    AND relnamespace = current_schema()::regnamespace
"""
_DIFFERING = """
SELECT FROM (SELECT id, result_hash FROM {schema}.job WHERE result_hash IS NOT NULL) j
FULL JOIN ({wanted}) v (id, hash) ON j.id = v.id WHERE j.result_hash IS DISTINCT FROM v.hash
"""
_DIFFERS = "XX990"
"""SQLSTATE of a content that is not the manifest's."""
_LOCKED = "55P03"
# Programs of PostgreSQL 17 and newer set it; older servers do not know it.
_UNKNOWN_SETTING = b"SET transaction_timeout = 0;\n"
_KNOWN_FROM = 17


def load(database: Database, dump: Path, manifest: Manifest, progress: Progress) -> None:
    """Replace everything in the schema by a dump. Raises UnavailableError and CopyError."""
    with database.read() as tx:
        server, schema = postgresql.server_version(tx), postgresql.schema_name(tx)
        before = _prelude(tx)
    if schema != manifest.schema:
        reason = f"has its tables in the schema {manifest.schema}, the database in {schema}"
        raise refuse("FROM", str(dump.parent), reason, "Set search_path in the address.")
    psql, _ = programs.find("psql", at_least=1)
    pg_restore, _ = programs.find("pg_restore", at_least=manifest.tool)
    url, environment = programs.address(database.url)
    # Objects that are in the schema, without the schema itself.
    reading = [
        pg_restore,
        "--no-owner",
        "--no-privileges",
        f"--schema={schema}",
        "--file=-",
        str(dump),
    ]
    writing = [
        *(psql, "--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"),
        *("--set=VERBOSITY=verbose", "--file=-", f"--dbname={url}"),
    ]
    pipe = subprocess.PIPE
    database.close()
    with (
        tempfile.TemporaryFile() as unread,
        tempfile.TemporaryFile() as unwritten,
        programs.running(reading, stdout=pipe, stderr=unread) as source,
        programs.running(writing, stdin=pipe, stderr=unwritten, env=environment) as target,
    ):
        assert source.stdout is not None
        assert target.stdin is not None
        try:
            target.stdin.write(before.encode())
            _pass_on(source.stdout, target.stdin, server, progress)
            if source.wait():
                raise UnavailableError(f"{dump} cannot be read: {programs.complaint(unread)}")
            progress("checking the copy", 0)
            # Without this end, whatever the reason, the server forgets the transaction.
            target.stdin.write(f"{_check(manifest)}COMMIT;\n".encode())
            target.stdin.close()
        except BrokenPipeError:
            pass  # psql says why
        if target.wait():
            raise _failed(programs.complaint(unwritten))


def _prelude(tx: Transaction) -> str:
    """Statements that empty the schema."""
    drops = [f"DROP {kind} IF EXISTS {name} CASCADE;" for kind, name in tx.run_as_is(_OBJECTS)]
    limits = f"SET lock_timeout = '{LOCK_SECONDS}s'; SET statement_timeout = 0;"
    return "\n".join([limits, "SET client_min_messages = warning; BEGIN;", *drops, ""])


def _pass_on(source: IO[bytes], target: IO[bytes], server: int, progress: Progress) -> None:
    done, block = 0, source.read(BLOCK)
    if server < _KNOWN_FROM:
        block = block.replace(_UNKNOWN_SETTING, b"", 1)
    while block:
        target.write(block)
        done += len(block)
        progress("restoring the database", done)
        block = source.read(BLOCK)


def _check(manifest: Manifest) -> str:
    """Statements that fail if the content of the database is not the manifest's."""
    schema, content = quoted(manifest.schema), manifest.content
    checks = [
        _fail_if(
            f"(SELECT count(*) FROM {schema}.{quoted(table)}) <> {int(rows)}",  # noqa: S608 - quoted
            f"not {counted(rows, 'row')} of {table}",
        )
        for table, rows in content.rows.items()
    ]
    pairs = ", ".join(f"({int(job)}, {_text(digest)})" for job, digest in content.results.items())
    wanted = f"VALUES {pairs}" if pairs else "SELECT 0, '' WHERE false"
    differing = _DIFFERING.format(schema=schema, wanted=wanted)
    checks.append(_fail_if(f"EXISTS ({differing})", "other results of jobs"))
    return "\nDO $check$ BEGIN\n" + "\n".join(checks) + "\nEND $check$;\n"


def _fail_if(condition: str, message: str) -> str:
    raised = f"RAISE EXCEPTION USING ERRCODE = '{_DIFFERS}', MESSAGE = {_text(message)}"
    return f"IF {condition} THEN {raised}; END IF;"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _failed(message: str) -> Exception:
    state, _, words = message.partition(": ")
    if state == _DIFFERS:
        return CopyError(f"Nothing was restored: the dump has {words}.")
    if state == _LOCKED:
        return ConflictError("A process uses the database. Stop all of Headwise first.")
    known = re.fullmatch(r"[0-9A-Z]{5}", state)
    return UnavailableError(f"Nothing was restored: {words if known else message}")
