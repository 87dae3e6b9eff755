"""The parts of published views."""

from __future__ import annotations

from dataclasses import dataclass

_EXISTS = "state <> 'deleting'"
"""The common option of views that leave rows out."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A published column."""

    name: str
    expression: str
    type: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A published view: `SELECT columns FROM source`."""

    name: str
    meaning: str
    source: str
    columns: tuple[Column, ...]

    @property
    def select(self) -> str:
        """The view's SELECT statement."""
        listed = ", ".join(f"{c.expression} AS {c.name}" for c in self.columns)
        return f"SELECT {listed} FROM {self.source}"  # noqa: S608 - constants of this file

    def definition(self, dialect: str) -> str:
        """The statement that creates the view.

        PostgreSQL would otherwise call functions of a user's query on rows before the view leaves
        them out, and their errors would tell what is in the rows of deleted jobs.
        """
        leaves_out = dialect == "postgresql" and _EXISTS in self.source
        options = " WITH (security_barrier)" if leaves_out else ""
        return f"CREATE VIEW {self.name}{options} AS {self.select}"


def columns(*rows: tuple[str, str, str, str]) -> tuple[Column, ...]:
    """Make columns from name, expression, type and meaning."""
    return tuple(Column(name=n, expression=e, type=t, meaning=m) for n, e, t, m in rows)


JOB = ("job_id", "{0}.job_id", "integer", "Job, see jobs.job_id.")
EXAMPLE = ("example", "{0}.example_no", "integer", "Example within the job, from 0.")
LAYER = ("layer", "s.layer", "integer", "Layer of the head, from 0.")
ATTENTION_TYPE = ("attention_type", "s.kind", "text", "encoder, decoder or cross.")
KIND = ("kind", "s.kind", "text", "The same as attention_type; leaves with version 1.0.")
HEAD = ("head", "{0}.head", "integer", "Head within the layer, from 0.")


def of(table: str, *rows: tuple[str, str, str, str]) -> tuple[tuple[str, str, str, str], ...]:
    """Return columns for the table with this alias."""
    return tuple((n, e.format(table), t, m) for n, e, t, m in rows)


def shown(table: str) -> str:
    """Return a join that leaves out deleted jobs and purged details.

    A view that joins `site` needs none: its rows go with the mark.
    """
    return f"JOIN job j ON j.id = {table}.job_id AND j.{_EXISTS} AND j.purged_at IS NULL"
