"""Messages of the SQL console: what is wrong with a query, and what to do about it."""

from __future__ import annotations

import re
from typing import Any

from db.views import VIEW_NAMES
from jobs.errors import HeadwiseError, UnavailableError, nearest, refuse

MAX_SQL = 5_000
"""Length limit of a query, in characters: what takes long to plan needs more."""
_MAKE_ROLE = (
    "Make one with `headwise doctor --create-console-role`, run with the address of a superuser, "
    "and set HEADWISE_CONSOLE_URL to the address it prints."
)
NO_ROLE = f"The SQL console is off: on PostgreSQL it needs a role of its own. {_MAKE_ROLE}"

_COMMENTS = re.compile(r"(\s|\(|;|--[^\n]*(\n|$)|/\*.*?(\*/|$))*", re.DOTALL)
_QUERY = re.compile(r"(select|values|with|table)\b", re.IGNORECASE)
_SIMPLER = "docs/security.md lists what a query may consist of."
_ONLY_SELECT = "Write one SELECT (or WITH ... SELECT) on the published views."


def check(sql: str) -> None:
    """Refuse queries for which the message of the database would not help."""
    if len(sql) > MAX_SQL:
        raise refuse("sql", sql, f"longer than {MAX_SQL:,} characters", _ONLY_SELECT)
    if "\0" in sql or re.search("[\ud800-\udfff]", sql):
        raise refuse("sql", sql, "contains a character that is not text", "Remove it.")
    start = _COMMENTS.match(sql)
    rest = sql[start.end() :] if start else sql
    if not rest:
        raise refuse("sql", sql, "is empty", _ONLY_SELECT)
    if not _QUERY.match(rest):
        word = re.match(r"\w*", rest)
        raise refuse("sql", word[0] if word else rest, "is not a SELECT", _ONLY_SELECT)


def error_of(message: dict[str, Any], request: dict[str, Any]) -> HeadwiseError:
    """The error for the user, from an error message of the child."""
    seconds, size = request["seconds"], request["bytes"]
    code, said = str(message["error"]), str(message.get("message", ""))
    name = str(message.get("name", "")).removeprefix("main.").removeprefix("public.")
    narrower = "Narrow it: a WHERE on job_id, fewer columns, a LIMIT."
    match code:
        case "table" | "missing":
            what = "is not published" if code == "table" else "does not exist"
            if name in VIEW_NAMES:
                return refuse("sql", message["name"], what, f"Write {name} without a schema.")
            return refuse("sql", name, what, nearest(name, VIEW_NAMES))
        case "function":
            remedy = "Aggregate, window, text, date, JSON and mathematical functions are."
            return refuse("sql", name, "the function is not allowed here", remedy)
        case "statement" | "empty":
            return refuse("sql", name or None, "is not a SELECT", _ONLY_SELECT)
        case "stacked":
            return refuse("sql", None, "is more than one statement", _ONLY_SELECT)
        case "construct":
            return refuse("sql", name or None, "is not allowed here", _SIMPLER)
        case "operator":
            return refuse("sql", name or None, "the operator is not allowed here", _SIMPLER)
        case "type":
            return refuse("sql", name or None, "the type is not allowed here", _SIMPLER)
        case "number":
            remedy = "Cast to double precision."
            return refuse("sql", name or None, "makes numbers of any length", remedy)
        case "pattern":
            remedy = "Write it as a constant; strpos(text, part) > 0 takes any part."
            return refuse("sql", name, "its second text must be a constant", remedy)
        case "jsonb":
            return refuse("sql", None, "casts a computed text to jsonb", "Cast it to json.")
        case "union":
            text = "UNION in a recursive query keeps all rows in memory"
            return refuse("sql", None, text, "Write UNION ALL.")
        case "complex":
            return refuse("sql", None, "is too complex", narrower)
        case "time":
            return refuse("sql", None, f"stopped at the time limit of {seconds:g} s", narrower)
        case "memory":
            return refuse("sql", None, "stopped at the memory limit", narrower)
        case "value":
            return refuse("sql", None, "produces a text or blob that is too long", narrower)
        case "bytes":
            text = f"its result is larger than {size:,} bytes"
            return refuse("sql", None, text, narrower)
        case "role":
            return UnavailableError(f"HEADWISE_CONSOLE_URL may read more than the views. {NO_ROLE}")
        case "old-role":
            return UnavailableError(f"The SQL console's role is of another release. {_MAKE_ROLE}")
        case "unavailable":
            return UnavailableError(f"The database does not answer: {said}")
        case _:
            return refuse("sql", None, said.rstrip("."))
