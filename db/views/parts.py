"""The parts of published views."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_EXISTS = "state <> 'deleting'"
"""The common option of views that leave rows out."""

_JSON = {
    "sqlite": dict.fromkeys(("array", "object"), r"JOIN json_each(\1) \2"),
    "postgresql": {
        "array": r"CROSS JOIN LATERAL (SELECT e.place - 1, e.value FROM "
        r"json_array_elements_text(\1::json) WITH ORDINALITY AS e(value, place)) AS \2(key, value)",
        "object": r"CROSS JOIN LATERAL json_each_text(\1::json) AS \2(key, value)",
    },
}
"""Joins with the values of JSON, by dialect."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A published column."""

    name: str
    expression: str
    type: str
    meaning: str


Field = tuple[str, ...]
"""Name, type and meaning of a column, and its SQL expression where that is not its name."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A published view: `SELECT columns FROM source`."""

    name: str
    meaning: str
    source: str
    """Tables and joins. `{array t.column a}` joins the values of a JSON array, and
    `{object t.column a}` those of an object: `a.key` is the place from 0, or the name, and
    `a.value` the value."""
    fields: tuple[Field, ...]
    """Its columns; expressions that are a name are columns of the first table."""

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns, with the table's alias in front of names."""
        alias = self.source.split()[1]
        found = []
        for name, kind, meaning, *given in self.fields:
            expression = given[0] if given else name
            if expression.isidentifier():
                expression = f"{alias}.{expression}"
            found.append(Column(name=name, expression=expression, type=kind, meaning=meaning))
        return tuple(found)

    def select(self, dialect: str) -> str:
        """The view's SELECT statement."""
        listed = ", ".join(f"{c.expression} AS {c.name}" for c in self.columns)
        source = self.source
        for json, join in _JSON[dialect].items():
            source = re.sub(rf"\{{{json} ([\w.]+) (\w+)\}}", join, source)
        return f"SELECT {listed} FROM {source}"  # noqa: S608 - constants of this file

    def definition(self, dialect: str) -> str:
        """The statement that creates the view.

        PostgreSQL would otherwise call functions of a user's query on rows before the view leaves
        them out, and their errors would tell what is in the rows of deleted jobs.
        """
        leaves_out = dialect == "postgresql" and _EXISTS in self.source
        options = " WITH (security_barrier)" if leaves_out else ""
        return f"CREATE VIEW {self.name}{options} AS {self.select(dialect)}"


JOB = ("job_id", "integer", "Job, see jobs.job_id.")
EXAMPLE = ("example", "integer", "Example within the job, from 0.", "example_no")
SITE = (
    ("layer", "integer", "Layer, from 0.", "s.layer"),
    ("attention_type", "text", "encoder, decoder or cross.", "s.kind"),
    ("kind", "text", "The same as attention_type; leaves with version 1.0.", "s.kind"),
)
HEAD = (*SITE, ("head", "integer", "Head within the layer, from 0."))


def shown(table: str) -> str:
    """Return a join that leaves out deleted jobs and purged details.

    A view that joins `site` needs none: its rows go with the mark.
    """
    return f"JOIN job j ON j.id = {table}.job_id AND j.{_EXISTS} AND j.purged_at IS NULL"
