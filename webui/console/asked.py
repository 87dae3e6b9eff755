"""The query of a request, and how its result is to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlencode

from flask import request, url_for

from jobs.errors import refuse
from webui.context import clean, integer

LONGEST_LINK = 3_000
"""Characters of a query in an address; servers cut longer ones."""
AXES = ("x", "y", "series")
"""Fields that name the columns of a chart."""
MOST_COLUMNS = 2_000
"""Columns that a result may have on SQLite; PostgreSQL has fewer."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query and how its result is shown, as the fields of an address or a form have it."""

    sql: str
    sort: int = 0
    """The number of the column to sort by, from 1; negative: descending; 0: as the query says."""
    plan: bool = False
    """The database's plan is asked for, and no rows."""
    first: int = 1
    """The number of the first row that is shown."""
    chart: str = ""
    """The kind of chart that is drawn of it; empty for none."""
    x: str = ""
    y: str = ""
    series: str = ""
    """The columns that the chart shows; empty for those that are proposed."""

    @classmethod
    def of_request(cls, source: Mapping[str, str] | None = None) -> Asked:
        """Read the fields of this request. Raises InputError."""
        given = request.values if source is None else source
        return cls(
            # Browsers send the lines of a form in the network's way.
            sql=clean(given.get("q", "")).replace("\r\n", "\n"),
            sort=integer("sort", 0, -MOST_COLUMNS, MOST_COLUMNS, given),
            plan=given.get("plan") == "1",
            first=integer("first", 1, 1, source=given),
            **{name: clean(given.get(name, "")) for name in ("chart", *AXES)},
        )

    @property
    def empty(self) -> bool:
        """There is no query."""
        return not self.sql.strip()

    @property
    def fields(self) -> dict[str, str]:
        """The fields that ask for the same again."""
        found = {"q": self.sql}
        if self.sort:
            found["sort"] = str(self.sort)
        if self.first > 1:
            found["first"] = str(self.first)
        if self.plan:
            found["plan"] = "1"
        chosen = {"chart": self.chart, "x": self.x, "y": self.y, "series": self.series}
        return found | {name: value for name, value in chosen.items() if value}

    @property
    def address(self) -> str:
        """The address of its result."""
        return f"{url_for('console.show')}?{urlencode(self.fields)}"

    @property
    def for_rows(self) -> dict[str, str]:
        """The fields for a form that chooses the rows."""
        return replace(self, first=1).fields

    @property
    def for_order(self) -> dict[str, str]:
        """The fields for a form that chooses the order."""
        return replace(self, first=1, sort=0).fields

    @property
    def for_chart(self) -> dict[str, str]:
        """The fields for a form that chooses a chart."""
        return replace(self, chart="", x="", y="", series="").fields

    @cached_property
    def fits_address(self) -> bool:
        """An address can hold it."""
        return len(self.address) <= LONGEST_LINK


def cell_of_request() -> tuple[int, int]:
    """Row and column, from 0, of the field `cell`: `3.1`. Raises InputError."""
    given = request.values.get("cell", "")
    row, dot, column = given.partition(".")
    if not (dot and row.isdecimal() and column.isdecimal() and len(given) < 20):
        raise refuse("cell", given, "is not a cell", "Its form is row.column, both from 0.")
    return int(row), int(column)
