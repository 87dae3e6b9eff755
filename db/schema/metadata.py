"""What every table belongs to, and how constraints are named."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

published = Table(
    "published",
    metadata,
    Column("views_hash", Text, primary_key=True),
    Column("oldest_code", Text),
)
"""One row: which version of the published views the database has, and the oldest revision whose
code works on the schema."""
