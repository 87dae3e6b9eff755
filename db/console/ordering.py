"""A query in the order of one of its columns."""

from __future__ import annotations

import re

BEFORE = "SELECT * FROM (\n"
"""The text before the query."""
_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|$)|;)
    |'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|.""",
    re.DOTALL | re.VERBOSE,
)


def ordered(sql: str, sort: int) -> str:
    """The query sorted by its column number `sort`, from 1; negative: descending; 0: as it is.

    Nulls come last on both databases. The statement is checked like any other.
    """
    if not sort:
        return sql
    direction = "DESC" if sort < 0 else "ASC"
    return f"{BEFORE}{_bare(sql)}\n) AS sorted ORDER BY {abs(sort)} {direction} NULLS LAST"


def _bare(sql: str) -> str:
    """The query without the semicolons and comments at its end."""
    end = 0
    for token in _TOKEN.finditer(sql):
        if token["space"] is None:
            end = token.end()
    return sql[:end]
