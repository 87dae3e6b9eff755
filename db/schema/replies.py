"""The table of answers that are kept for requests with an idempotency key."""

from __future__ import annotations

from sqlalchemy import Column, Double, Integer, LargeBinary, Table, Text

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

reply = Table(
    "reply",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("created_at", Double, nullable=False, index=True),
    info=kept(Lifetime.INSTALLATION),
)
"""`status` is null while the first request with the key is being answered."""
