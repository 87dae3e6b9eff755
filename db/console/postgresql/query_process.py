"""The process that runs one query of the SQL console on PostgreSQL.

The role limits what may be read (`db.console.postgresql.role`). The tree that the server makes of
the query tells what it consists of (`db.console.postgresql.statement`). The cursor limits the
statements: DECLARE takes one query and nothing else.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.errors import Diagnostic
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import FloatLoader, IntLoader
from psycopg.types.string import ByteaLoader, StrDumper, TextBinaryLoader, TextLoader

from db.console.child import Output, Refused, answer, limit, say
from db.console.postgresql.bounded import TOO_LONG
from db.console.postgresql.statement import (
    Catalogue,
    Checker,
    References,
    Routine,
    parse,
    references,
)

_ANALYSE = "PREPARE analysed AS\n"
DECLARE = "DECLARE q NO SCROLL CURSOR FOR\n"
_PERMISSION = re.compile(r"permission denied for (\w+(?: \w+)?) (\S+)$")
_SETTINGS = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = {milliseconds}",
    "SET LOCAL lock_timeout = 2000",
    # What one query takes at most grows with the number of its sorts and hashes, and with these.
    "SET LOCAL work_mem = '4MB'",
    "SET LOCAL hash_mem_multiplier = 1",
    "SET LOCAL max_parallel_workers_per_gather = 0",
    # Compiling a long expression takes seconds and hundreds of megabytes, without interrupts.
    "SET LOCAL jit = off",
)
_SHOW_TREE = (
    "SET LOCAL debug_pretty_print = off; SET LOCAL client_min_messages = log; "
    "SET LOCAL debug_print_parse = on"
)
_HIDE_TREE = (
    "SET LOCAL debug_print_parse = off; SET LOCAL client_min_messages = error; DEALLOCATE analysed"
)
_CHECK = """
SELECT (
    SELECT current_setting('is_superuser') = 'on' OR bool_or(has_table_privilege(c.oid, 'SELECT'))
    FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(string_to_array(%s, ' '))
), obj_description(to_regnamespace('headwise_console'), 'pg_namespace'),
current_setting('log_min_messages') IN ('fatal', 'panic')
"""
_LOOK_UP = """
SELECT 'relation', c.oid, n.nspname, c.relname, '', CASE WHEN c.relkind = 'v'
    AND has_table_privilege(c.oid, 'SELECT') THEN 1 ELSE 0 END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(string_to_array(%s, ' ')::oid[])
UNION ALL SELECT 'function', p.oid, n.nspname, p.proname, p.proargtypes::text, p.prorettype::bigint
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid = ANY(string_to_array(%s, ' ')::oid[])
UNION ALL SELECT 'operator', o.oid, n.nspname, o.oprname, concat_ws(' ', o.oprleft::text,
    o.oprright::text), o.oprresult::bigint
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oid = ANY(string_to_array(%s, ' ')::oid[])
"""


def main() -> None:
    """Answer the request on standard input."""
    answer(run)


def run(request: dict[str, Any], output: Output) -> None:
    """Run the query of a request. Raises Refused."""
    limit(request)
    connection = connect(request)
    late = threading.Event()

    def cancel() -> None:
        late.set()
        connection.cancel_safe(timeout=1)

    watchdog = threading.Timer(request["seconds"], cancel)
    watchdog.daemon = True
    say({"ready": True})
    watchdog.start()
    try:
        respond(connection, request, output)
    except psycopg.Error as error:
        raise Refused("time") if late.is_set() else translated(error) from None


def respond(connection: psycopg.Connection[Any], request: dict[str, Any], output: Output) -> None:
    """Check the query of a request, and write its rows or its plan to the output."""
    check(connection, request["sql"], request["views"])
    write = explain if request["plan"] else fetch
    write(connection, request["sql"], output)


def connect(request: dict[str, Any]) -> psycopg.Connection[Any]:
    """Connect as the console's role, in a read-only transaction with limits. Raises Refused."""
    milliseconds = max(1, int(request["seconds"] * 1000))
    try:
        connection = psycopg.connect(
            request["address"],
            context=_adapters(),
            connect_timeout=5,
            application_name="headwise-console",
            client_encoding="utf8",
        )
        connection.execute("; ".join(_SETTINGS).format(milliseconds=milliseconds).encode())
        row = connection.execute(_CHECK, [" ".join(request["tables"])]).fetchone()
    except psycopg.Error as error:
        raise Refused("unavailable", str(error).strip()) from None
    reads_tables, version, quiet = row or (True, "", False)
    if reads_tables:
        raise Refused("role")
    # The tree of every query would end up in the server's log, too.
    if version != request["version"] or not quiet:
        raise Refused("old-role")
    return connection


def check(connection: psycopg.Connection[Any], sql: str, views: Sequence[str]) -> None:
    """Let the server analyse a query and refuse what is not allowed. Raises Refused."""
    trees: list[str] = []

    def keep(notice: Diagnostic) -> None:
        if notice.message_primary == "parse tree:":
            trees.append(notice.message_detail or "")

    connection.execute(_SHOW_TREE.encode())
    connection.add_notice_handler(keep)
    try:
        # binary=True: the extended protocol, which takes one statement. It is not planned here.
        connection.execute((_ANALYSE + sql).encode(), binary=True)
    finally:
        connection.remove_notice_handler(keep)
    connection.execute(_HIDE_TREE.encode())
    tree = parse(trees[-1] if trees else "")
    try:
        Checker(_look_up(connection, references(tree), views)).check(tree)
    except Refused as refused:
        if refused.code == "type":
            row = connection.execute("SELECT format_type(%s::oid, NULL)", [refused.name]).fetchone()
            raise Refused("type", name=row[0] if row else "") from None
        raise


def _look_up(
    connection: psycopg.Connection[Any], asked: References, views: Sequence[str]
) -> Catalogue:
    lists = [
        " ".join(map(str, oids)) for oids in (asked.relations, asked.functions, asked.operators)
    ]
    published: set[int] = set()
    relations: dict[int, str] = {}
    routines: dict[str, dict[int, Routine]] = {"function": {}, "operator": {}}
    for what, oid, schema, name, arguments, result in connection.execute(_LOOK_UP, lists):
        if what != "relation":
            types = tuple(map(int, arguments.split()))
            routines[what][oid] = Routine(schema, name, types, result)
            continue
        relations[oid] = name
        if result and name in views and schema not in ("pg_catalog", "information_schema"):
            published.add(oid)
    return Catalogue(
        views=frozenset(published),
        relations=relations,
        functions=routines["function"],
        operators=routines["operator"],
    )


def fetch(connection: psycopg.Connection[Any], sql: str, output: Output) -> None:
    """Write the rows of a query that was checked to the output."""
    connection.execute((DECLARE + sql).encode(), binary=True)
    portal = connection.pgconn.describe_portal(b"q")
    names = [portal.fname(place) or b"" for place in range(portal.nfields)]
    output.columns([name.decode("utf-8", "replace") for name in names])
    wanted = "ALL" if output.rows_left is None else output.rows_left + 1
    # A few rows at a time: each may be as long as memory allows.
    size = 16 if psycopg.pq.version() >= 170_000 else 1
    if output.rows(connection.cursor().stream(f"FETCH {wanted} FROM q".encode(), size=size)):
        output.end()


def explain(connection: psycopg.Connection[Any], sql: str, output: Output) -> None:
    """Write the plan of a query that was checked, without running it."""
    connection.execute((_ANALYSE + sql).encode(), binary=True)
    output.columns(["plan"])
    if output.rows(connection.execute(b"EXPLAIN EXECUTE analysed")):
        output.end()


def translated(error: psycopg.Error) -> Refused:
    state = error.sqlstate or ""
    message = error.diag.message_primary or str(error).strip()
    if state == "57014":
        return Refused("time")
    if denied := _PERMISSION.search(message):
        kind = "function" if denied[1] in ("function", "procedure", "aggregate") else "table"
        return Refused(kind, message, denied[2])
    if state == TOO_LONG:
        return Refused("value", message)
    if "multiple commands" in message:
        return Refused("stacked", message)
    if state == "42P01":
        quoted = re.search(r'"([^"]+)"', message)
        return Refused("missing", message, quoted[1] if quoted else "", _position(error))
    if state == "25006":
        return Refused("statement", message)
    if state in ("53200", "53400", "53100"):
        return Refused("memory", message)
    if not state and re.search("memory|synchronization", message):  # of libpq, not of the server
        return Refused("memory", message)
    if "prepared statement" in message:  # the query has a $1
        return Refused("sql", "a query takes no parameters")
    if not state or state[:2] in ("08", "57"):
        return Refused("unavailable", message)
    hint = f". {error.diag.message_hint}" if error.diag.message_hint else ""
    return Refused("sql", message + hint, position=_position(error))


def _position(error: psycopg.Error) -> int:
    return max(0, int(error.diag.statement_position or 0) - len(_ANALYSE))


def _adapters() -> AdaptersMap:
    """Loaders for numbers, booleans and bytes; any other type stays the text PostgreSQL writes."""
    adapters = AdaptersMap(types=postgres.types)
    adapters.register_dumper(str, StrDumper)
    adapters.register_loader(0, TextLoader)  # any type without a loader
    adapters.register_loader(0, TextBinaryLoader)  # the output of EXPLAIN
    adapters.register_loader("numeric", _NumericLoader)
    adapters.register_loader("bool", BoolLoader)
    adapters.register_loader("bytea", ByteaLoader)
    for name in ("int2", "int4", "int8", "oid"):
        adapters.register_loader(name, IntLoader)
    for name in ("float4", "float8"):
        adapters.register_loader(name, FloatLoader)
    return adapters


class _NumericLoader(Loader):
    def load(self, data: Buffer) -> int | float | str:
        text = bytes(data).decode()
        if not text.lstrip("-").isdigit():
            return float(text)
        return int(text) if len(text) <= sys.int_info.str_digits_check_threshold else text
