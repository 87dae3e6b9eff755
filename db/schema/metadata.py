"""The metadata that every table belongs to, the names of constraints, and partial indexes."""

from __future__ import annotations

from sqlalchemy import Index, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Describe an index of the rows that meet a condition; a migration makes it.

    `postgresql_where` would import PostgreSQL's dialect into every command on SQLite: 20 ms.
    """
    return Index(name, *columns, unique=unique, info={"where": where})
