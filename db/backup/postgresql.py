"""Copies of a PostgreSQL database, by pg_dump.

The dump holds the schema that the tables are in. Owners and privileges stay out of it: roles belong
to a server, and a dump must be restorable where they do not exist. So does the schema of the SQL
console, which `headwise migrate --console-role` makes with its role.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from db.backup import programs
from db.backup.manifest import Content, Progress, content, parts, quoted
from db.database import Database
from db.transaction import Transaction
from db.upgrades import schema_revision
from jobs.errors import UnavailableError, refuse

_COPY = re.compile(
    rb'COPY (?:"(?:[^"]|"")*"|[^".\s]+)\.("(?:[^"]|"")*"|[^".\s]+) \((.*)\) FROM stdin;'
)
_DENIED = "42501"
READ_ALL = "A role that reads everything can: GRANT pg_read_all_data TO it."
_REVOKED = (
    "Where the SQL console's role is of an earlier release, also run `headwise migrate "
    "--console-role` once as a superuser."
)


def server_version(tx: Transaction) -> int:
    """The major version of the server."""
    return int(tx.run("SELECT current_setting('server_version_num')::integer / 10000").scalar_one())


def schema_name(tx: Transaction) -> str:
    """The schema that tables are made in."""
    return str(tx.run("SELECT current_schema()").scalar())


def tables_size(database: Database) -> int:
    """Bytes of all tables, without indexes."""
    query = (
        "SELECT coalesce(sum(pg_table_size(oid)), 0) FROM pg_class "
        "WHERE relkind IN ('r', 'm') AND relnamespace = current_schema()::regnamespace"
    )
    return int(database.value(query))


def copy(database: Database, to: Path, progress: Progress) -> tuple[Content, str, str, int]:
    """Dump the database to a new file.

    Returns its content, the revision of its schema, the schema's name and the version of pg_dump.
    The content is read from the snapshot that is dumped. Raises UnavailableError, CopyError, and
    InputError if the role may not read everything.
    """
    try:
        with database.read() as tx:
            tx.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            tx.run("SET LOCAL statement_timeout = 0")
            dump, version = programs.find("pg_dump", at_least=server_version(tx))
            schema, revision = schema_name(tx), str(schema_revision(tx))
            snapshot = str(tx.run("SELECT pg_export_snapshot()").scalar())
            url, environment = programs.address(database.url)
            command = [
                *(dump, "--format=custom", "--no-privileges", "--lock-wait-timeout=60s"),
                *(f"--schema={quoted(schema)}", f"--snapshot={snapshot}", f"--file={to}"),
                f"--dbname={url}",
            ]
            with (
                tempfile.TemporaryFile() as errors,
                programs.running(
                    command, stdin=subprocess.DEVNULL, stderr=errors, env=environment
                ) as process,
            ):
                found, belongs = content(tx), parts(tx)
                while process.poll() is None:
                    progress("copying the database", to.stat().st_size if to.exists() else 0)
                    time.sleep(0.1)
                if process.returncode:
                    raise _failed(programs.complaint(errors))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _DENIED:
            raise _failed(str(error.orig)) from None
        raise
    found.compare(examine(to, belongs, progress))
    return found, revision, schema, version


def _failed(message: str) -> Exception:
    if "permission denied" in message:
        remedy = f"{READ_ALL} {_REVOKED}" if "function" in message else READ_ALL
        return refuse("HEADWISE_DATABASE_URL", None, f"its role cannot copy: {message}", remedy)
    return UnavailableError(f"pg_dump failed: {message}")


def examine(dump: Path, belongs: Mapping[str, str], progress: Progress) -> Content:
    """Read a dump from beginning to end, and return what it holds.

    belongs: the table of every partition, see `parts`
    """
    rows = dict.fromkeys(belongs.values(), 0)
    results: dict[str, str] = {}
    program, _ = programs.find("pg_restore", at_least=1)
    command = [program, "--data-only", "--file=-", str(dump)]
    with (
        tempfile.TemporaryFile() as errors,
        programs.running(
            command, stdout=subprocess.PIPE, stderr=errors, bufsize=1 << 20
        ) as process,
    ):
        table, number, hashed, done = "", -1, -1, 0
        assert process.stdout is not None
        for line in process.stdout:
            if not table:
                if found := _COPY.match(line):
                    name = found[1].decode().strip('"').replace('""', '"')
                    table = belongs.get(name, name)
                    columns = found[2].decode().split(", ")
                    is_job = name == "job"
                    number = columns.index("id") if is_job else -1
                    hashed = columns.index("result_hash") if is_job else -1
                    rows.setdefault(table, 0)
            elif line == b"\\.\n":
                table = ""
                progress("checking the copy", done)
            else:
                rows[table] += 1
                done += len(line)
                if hashed >= 0:
                    fields = line.rstrip(b"\n").split(b"\t")
                    if fields[hashed] != b"\\N":
                        results[fields[number].decode()] = fields[hashed].decode()
        if process.wait():
            raise UnavailableError(f"The copy cannot be read: {programs.complaint(errors)}")
    return Content(rows=rows, results=results)
