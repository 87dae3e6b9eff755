"""The process that runs one query of the SQL console on PostgreSQL.

The role limits what may be read (`db.console.role`). The cursor limits the statements: DECLARE
takes one query and nothing else.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from typing import Any

import psycopg
from psycopg import postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.bool import BoolLoader
from psycopg.types.numeric import FloatLoader, IntLoader
from psycopg.types.string import ByteaLoader, StrDumper, TextBinaryLoader, TextLoader

from db.console.child import Output, Refused, answer, limit, say

_DECLARE = "DECLARE q NO SCROLL CURSOR FOR\n"
_EXPLAIN = "EXPLAIN (FORMAT JSON, COSTS OFF)\n"
_PERMISSION = re.compile(r"permission denied for (\w+(?: \w+)?) (\S+)$")
_CHECK = """
SELECT current_setting('is_superuser') = 'on' OR bool_or(has_table_privilege(c.oid, 'SELECT'))
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(string_to_array(%s, ' '))
"""


def main() -> None:
    """Answer the request on standard input."""
    answer(run)


def run(request: dict[str, Any], output: Output) -> None:
    """Run the query of a request. Raises Refused."""
    limit(request["memory"], request["seconds"])
    milliseconds = max(1, int(request["seconds"] * 1000))
    try:
        connection = psycopg.connect(
            request["address"],
            context=_adapters(),
            connect_timeout=5,
            application_name="headwise-console",
            client_encoding="utf8",
        )
        connection.execute(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout={milliseconds}")
        row = connection.execute(_CHECK, [" ".join(request["tables"])]).fetchone()
    except psycopg.Error as error:
        raise Refused("unavailable", str(error).strip()) from None
    if row is None or row[0]:
        raise Refused("role")
    late = threading.Event()

    def cancel() -> None:
        late.set()
        connection.cancel_safe(timeout=1)

    watchdog = threading.Timer(request["seconds"], cancel)
    watchdog.daemon = True
    say({"ready": True})
    watchdog.start()
    try:
        _fetch(connection, request["sql"], output)
    except psycopg.Error as error:
        raise Refused("time") if late.is_set() else _translate(error) from None


def _fetch(connection: psycopg.Connection[Any], sql: str, output: Output) -> None:
    # binary=True: the extended protocol, which takes one statement; DECLARE takes one query.
    connection.execute((_DECLARE + sql).encode(), binary=True)
    _refuse_catalog(connection.execute((_EXPLAIN + sql).encode(), binary=True).fetchall())
    complete, named = True, False
    while complete:
        wanted = output.wanted()
        cursor = connection.execute(f"FETCH {wanted} FROM q".encode())
        if not named:
            output.columns([column.name for column in cursor.description or ()])
            named = True
        rows = cursor.fetchall()
        complete = output.rows(rows)
        if len(rows) < wanted:
            break
    say({"end": True, "truncated": not complete})


def _refuse_catalog(explained: list[tuple[Any, ...]]) -> None:
    """Refuse tables and functions of PostgreSQL itself, which every role may mostly read."""
    nodes = [json.loads(explained[0][0])[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        for kind, key in (("table", "Relation Name"), ("function", "Function Name")):
            name = node.get(key, "")
            if name.startswith(("pg_", "sql_")):  # sql_: those of information_schema
                raise Refused(kind, name=name)


def _translate(error: psycopg.Error) -> Refused:
    state = error.sqlstate or ""
    message = error.diag.message_primary or str(error).strip()
    if state == "57014":
        return Refused("time")
    if denied := _PERMISSION.search(message):
        kind = "function" if denied[1] in ("function", "procedure", "aggregate") else "table"
        return Refused(kind, message, denied[2])
    if "multiple commands" in message:
        return Refused("stacked", message)
    if state == "42P01":
        quoted = re.search(r'"([^"]+)"', message)
        return Refused("missing", message, quoted[1] if quoted else "")
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
    return Refused("sql", message + _place(error))


def _place(error: psycopg.Error) -> str:
    position = int(error.diag.statement_position or 0) - len(_DECLARE)
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    return f" at character {position}{hint and '.' + hint}" if position > 0 else hint


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
