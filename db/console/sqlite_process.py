"""The process that runs one query of the SQL console on SQLite.

A read-only file is not enough: SQLite would still attach and create other files, change settings
and make temporary tables. The authorizer prevents all of this.

The authorizer cannot prevent reading. SQLite does not call it for the columns of USING and NATURAL
joins, so a name that must not be read must not resolve: the database is attached under a random
schema name, and every table and view in it that is not published is shadowed by an empty temporary
view of its name. SQLite's own names (sqlite_master, pragma_table_info) are refused as text, since
they cannot be shadowed and SQLite has no other spelling for them.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from db.console.child import Output, Refused, answer, limit, say

MAX_VALUE = 10_000_000
"""Length limit of texts and blobs in SQLite, in bytes."""
BUSY_SECONDS = 5

FUNCTIONS = frozenset(
    # aggregates and windows
    "avg count group_concat max median min percentile percentile_cont percentile_disc string_agg "
    "sum total cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank "
    "rank row_number "
    # text and values
    "abs char coalesce concat concat_ws glob hex if ifnull iif instr length like likelihood likely "
    "lower ltrim nullif octet_length quote random replace round rtrim sign sqlite_version substr "
    "substring trim typeof unhex unicode unlikely upper "
    # dates
    "current_date current_time current_timestamp date datetime julianday strftime time timediff "
    "unixepoch "
    # JSON
    "-> ->> json json_array json_array_length json_error_position json_extract json_group_array "
    "json_group_object json_insert json_object json_patch json_pretty json_quote json_remove "
    "json_replace json_set json_type json_valid "
    # mathematics
    "acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 "
    "log2 mod pi pow power radians sin sinh sqrt tan tanh trunc".split()
)
"""Functions that a query may call on SQLite. Left out are those that load code, read files or make
a long value from a short call (load_extension, readfile, printf, format, zeroblob, randomblob)."""
TABLE_FUNCTIONS = ("json_each", "json_tree")


_ACTIONS = {
    getattr(sqlite3, name): name.removeprefix("SQLITE_").replace("_", " ")
    for name in dir(sqlite3)
    if name.startswith(
        ("SQLITE_CREATE_", "SQLITE_DROP_", "SQLITE_ALTER_")  # and, by name:
    )
    or name
    in [
        "SQLITE_ANALYZE",
        "SQLITE_ATTACH",
        "SQLITE_DELETE",
        "SQLITE_DETACH",
        "SQLITE_INSERT",
        "SQLITE_PRAGMA",
        "SQLITE_REINDEX",
        "SQLITE_SAVEPOINT",
        "SQLITE_TRANSACTION",
        "SQLITE_UPDATE",
    ]
}


_OWN_NAMES = re.compile(r"(?:sqlite_(?!version\b)|pragma_)\w*", re.IGNORECASE)
"""SQLite's own tables and pragma functions, wherever they stand in a query."""
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 1_000_000),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)
_SHADOW = 'CREATE TEMP VIEW "{name}" AS SELECT NULL AS "" WHERE 0'
_SOURCES = re.compile(r"""(?:\bfrom|\bjoin|,)\s*["'`\[]?(\w+)""", re.IGNORECASE)


class Guard:
    """The authorizer: denies by default and keeps the first denial.

    It is the boundary for everything but reading, and a second one for reading: it reports an
    unpublished name where SQLite would silently find no rows in its shadow.
    """

    def __init__(self, views: Sequence[tuple[str, str]]) -> None:
        self.schema = f"db_{secrets.token_hex(16)}"
        self.views = dict(views)
        self.hidden: frozenset[str] = frozenset()
        self.denied: Refused | None = None

    def open(self, uri: str) -> sqlite3.Connection:
        """Open the database for one query. Raises Refused."""
        try:
            connection = sqlite3.connect(":memory:", uri=True, isolation_level=None)
            connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
            connection.execute("PRAGMA temp_store=MEMORY")
            self._publish(connection, uri)
            connection.execute("PRAGMA trusted_schema=0")
            connection.execute("PRAGMA query_only=1")
        except sqlite3.Error as error:
            raise Refused("unavailable", str(error).replace(self.schema, "main")) from None
        for category, most in _LIMITS:
            connection.setlimit(category, most)
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.set_authorizer(self)
        return connection

    def _publish(self, connection: sqlite3.Connection, uri: str) -> None:
        """Attach the database, create the published views and shadow every other name."""
        connection.execute("ATTACH ? AS " + self.schema, (uri,))
        # SQLite sets up a table-valued function at its first use, by statements denied later.
        for function in TABLE_FUNCTIONS:
            connection.execute(f"SELECT 1 FROM {function}('[]')")  # noqa: S608
        names = connection.execute(
            f"SELECT lower(name) FROM {self.schema}.sqlite_master "  # noqa: S608
            "WHERE type IN ('table', 'view') UNION SELECT lower(name) FROM pragma_module_list"
        )
        found = frozenset(name for (name,) in names)
        self.hidden = found - self.views.keys() - frozenset(TABLE_FUNCTIONS)
        connection.execute("BEGIN")
        for name, select in self.views.items():
            select = select.replace("{schema}", self.schema)
            connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
        for name in sorted(self.hidden):
            if not _OWN_NAMES.match(name):
                quoted = name.replace('"', '""')
                connection.execute(_SHADOW.format(name=quoted))
        connection.execute("COMMIT")

    @contextmanager
    def translated(self, sql: str) -> Iterator[None]:
        """Refuse a query that has SQLite's own names; turn SQLite's errors into Refused."""
        if own := _OWN_NAMES.search(sql):
            raise Refused("table", name=own[0].lower())
        try:
            yield
        except sqlite3.Error as error:
            raise self.denied or self._unpublished(error, sql) or _refusal(error, self) from None

    def __call__(
        self, action: int, first: str | None, second: str | None, db: str | None, body: str | None
    ) -> int:
        """The callback of sqlite3; `body` is the view or common table expression being read."""
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and first is not None:
            allowed = self._may_read(first, second, db, body)
            refused = Refused("table", name=first)
        elif action == sqlite3.SQLITE_FUNCTION and second is not None:
            allowed = second.lower() in FUNCTIONS
            refused = Refused("function", name=second.lower())
        else:
            allowed = False
            refused = Refused("statement", name=_ACTIONS.get(action, ""))
        if allowed:
            return sqlite3.SQLITE_OK
        self.denied = self.denied or refused
        return sqlite3.SQLITE_DENY

    def _unpublished(self, error: sqlite3.Error, sql: str) -> Refused | None:
        """Name the unpublished table of a query that found no columns in its shadow."""
        if str(error).startswith(("no such column", "cannot join using column")):
            for name in _SOURCES.findall(sql):
                if name.lower() in self.hidden:
                    return Refused("table", name=name)
        return None

    def _may_read(self, table: str, column: str | None, db: str | None, body: str | None) -> bool:
        if db == self.schema:
            # Without a column, `db` is as written in the query; else where the name was found.
            return body in self.views or column == ""
        if db == "temp":
            return table in self.views
        if db == "main":
            return table in TABLE_FUNCTIONS
        # No column and no schema: a view or a common table expression, not a table.
        return column == "" and table.lower() not in self.hidden


def main() -> None:
    """Answer the request on standard input."""
    answer(run)


def run(request: dict[str, Any], output: Output) -> None:
    """Run the query of a request. Raises Refused."""
    limit(request)
    guard = Guard(request["views"])
    connection = guard.open(request["address"])
    say({"ready": True})
    with guard.translated(request["sql"]):
        before = "EXPLAIN QUERY PLAN\n" if request["plan"] else ""
        cursor = connection.execute(before + request["sql"])
        if cursor.description is None:  # only comments
            raise Refused("empty")
        names = ["plan"] if request["plan"] else [column[0] for column in cursor.description]
        output.columns(names)
        if output.rows(_plan(cursor) if request["plan"] else cursor):
            output.end()


def _plan(steps: Iterable[tuple[int, int, int, str]]) -> Iterator[tuple[str]]:
    """The steps of a plan, each below the one that it belongs to."""
    depths = {0: -1}
    for number, parent, _, detail in steps:
        depths[number] = depths.get(parent, -1) + 1
        yield ("  " * depths[number] + detail,)


def _refusal(error: sqlite3.Error, guard: Guard) -> Refused:
    message = str(error).replace(guard.schema + ".", "")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if message.startswith("no such table: "):
        return Refused("missing", message, message.removeprefix("no such table: "))
    if "one statement at a time" in message:
        return Refused("stacked", message)
    if "number of bindings" in message:
        return Refused("sql", "a query takes no parameters")
    if code == sqlite3.SQLITE_TOOBIG:
        return Refused("value", message)
    if code == sqlite3.SQLITE_NOMEM:
        return Refused("memory", message)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR):
        return Refused("unavailable", message)
    return Refused("sql", message)
