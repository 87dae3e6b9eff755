"""Messages of the SQL console: what is wrong with a query, and what to do about it."""

from __future__ import annotations

import re
from typing import Any

from db.console.ordering import BEFORE
from db.views import VIEW_NAMES, VIEWS
from jobs.errors import HeadwiseError, Problem, QueryError, UnavailableError, nearest, refuse

MOST_NAMED = 5
"""Views that a message names."""
MAX_SQL = 5_000
"""Length limit of a query, in characters: what takes long to plan needs more."""
_MAKE_ROLE = (
    "Make one with `headwise doctor --create-console-role` as the owner of the database, and set "
    "HEADWISE_CONSOLE_URL to the address it prints."
)
CONSOLE = "SQL console"
NO_ROLE = f"The SQL console is off: on PostgreSQL it needs a role of its own. {_MAKE_ROLE}"

_COMMENTS = re.compile(r"(\s|\(|;|--[^\n]*(\n|$)|/\*.*?(\*/|$))*", re.DOTALL)
_QUERY = re.compile(r"(select|values|with|table)\b", re.IGNORECASE)
_SIMPLER = "docs/explanation/security.md lists what a query may consist of."
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
    code, text = str(message["error"]), str(message.get("message", ""))
    given = str(message.get("name", ""))
    if code in _UNAVAILABLE:
        return UnavailableError(_UNAVAILABLE[code].format(text=text), what=CONSOLE)
    sql = str(request["sql"]).removeprefix(BEFORE)
    position = int(message.get("position", 0)) - len(str(request["sql"])) + len(sql)
    value, what, remedy = _fault(code, text, given, request)
    line = _line(sql, position) if position > 0 else _line_of(sql, given or _quoted(text))
    if line and "\n" in sql.strip():
        what += f", in line {line}"
    elif position > 0:
        what += f", at character {position}"
    return QueryError(Problem(field="sql", value=value, message=what, remedy=remedy), line)


def _fault(
    code: str, text: str, given: str, request: dict[str, Any]
) -> tuple[str | None, str, str]:
    """The value at fault, the fault and the remedy."""
    name = given.removeprefix("main.").removeprefix("public.")
    if code in ("table", "missing"):
        what = "is not published" if code == "table" else "does not exist"
        if name in VIEW_NAMES:
            return given, what, f"Write {name} without a schema."
        return name, what, nearest(name, VIEW_NAMES)
    if code in _REFUSED:
        what, remedy = _REFUSED[code]
        return name or None, what.format(seconds=request["seconds"], size=request["bytes"]), remedy
    if column := _COLUMN.search(text):
        name = (column[1] or column[2]).rpartition(".")[2]
        return name, "there is no such column", _nearest_column(name, str(request["sql"]))
    return None, text.rstrip("."), ""


_COLUMN = re.compile(r'no such column: ([\w.]+)|column "?([\w.]+)"? does not exist')
_QUOTED = re.compile(r'near "([^"]+)"|no such \w+: (\S+)|column name: (\S+)')


def _quoted(text: str) -> str:
    """The part of the query that SQLite's message names."""
    found = _QUOTED.search(text)
    return next(filter(None, found.groups()), "") if found else ""


def _nearest_column(name: str, sql: str) -> str:
    """The remedy for a column that the views of a query do not have."""
    words = set(re.findall(r"\w+", sql.lower()))
    having = [view.name for view in VIEWS if any(one.name == name for one in view.columns)]
    if having:
        return f"It is a column of {', '.join(having[:MOST_NAMED])}."
    named = [view for view in VIEWS if view.name in words] or VIEWS
    return nearest(name, {column.name for view in named for column in view.columns})


def _line_of(sql: str, part: str) -> int | None:
    """The line of a part of the query; None where it is not there, or in several lines."""
    if not part:
        return None
    edge = r"\b" if re.fullmatch(r"\w.*\w|\w", part) else ""
    places = re.finditer(f"{edge}{re.escape(part)}{edge}", sql, re.IGNORECASE)
    lines = {_line(sql, place.start() + 1) for place in places}
    return lines.pop() if len(lines) == 1 else None


def _line(sql: str, position: int) -> int:
    return sql.count("\n", 0, position - 1) + 1


_NARROWER = "Narrow it: a WHERE on job_id, fewer columns, a LIMIT."
_REFUSED = {
    "function": (
        "the function is not allowed here",
        "Aggregate, window, text, date, JSON and mathematical functions are.",
    ),
    "operator": ("the operator is not allowed here", _SIMPLER),
    "type": ("the type is not allowed here", _SIMPLER),
    "construct": ("is not allowed here", _SIMPLER),
    "statement": ("is not a SELECT", _ONLY_SELECT),
    "empty": ("is not a SELECT", _ONLY_SELECT),
    "stacked": ("is more than one statement", _ONLY_SELECT),
    "number": ("makes numbers of any length", "Cast to double precision."),
    "pattern": (
        "its second text must be a constant",
        "Write it as a constant; strpos(text, part) > 0 takes any part.",
    ),
    "jsonb": ("casts a computed text to jsonb", "Cast it to json."),
    "union": ("UNION in a recursive query keeps all rows in memory", "Write UNION ALL."),
    "complex": ("is too complex", _NARROWER),
    "time": ("stopped at the time limit of {seconds:g} s", _NARROWER),
    "memory": ("stopped at the memory limit", _NARROWER),
    "value": ("produces a text or blob that is too long", _NARROWER),
    "bytes": ("its result is larger than {size:,} bytes", _NARROWER),
}
"""The fault and the remedy, by the code of the child's error."""
_UNAVAILABLE = {
    "role": f"HEADWISE_CONSOLE_URL may read more than the views. {NO_ROLE}",
    "old-role": f"The SQL console's role is of another release. {_MAKE_ROLE}",
    "unavailable": "The database does not answer: {text}",
}
