"""The tables of people: accounts, the ways in, what proves who somebody is, and the audit log.

No view publishes any of them: the SQL console cannot read them. Secrets are stored as hashes.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    false,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("created_at", Double, nullable=False),
    Column("signed_in_at", Double),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)
"""A person. `folded` is the name as it is compared, and as jobs have it."""

identity = Table(
    "identity",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("account_id", Integer, nullable=False),
    ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
    Index("ix_identity_account_id", "account_id"),
    info=kept(Lifetime.INSTALLATION),
)
"""The name of an account at an identity provider, or in the header of a proxy."""

session = Table(
    "session",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("account_id", Integer, nullable=False),
    Column("way", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
    Index("ix_session_account_id", "account_id"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)

token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("used_at", Double),
    ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
    Index("ix_token_account_id", "account_id"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)

link = Table(
    "link",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("expires_at", Double, nullable=False),
    ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
    Index("ix_link_account_id", "account_id"),
    info=kept(Lifetime.INSTALLATION),
)
"""A one-time link with which a person chooses a password: an invitation or a reset."""

failed_sign_in = Table(
    "failed_sign_in",
    metadata,
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("since", Double, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""Wrong sign-ins by address and by account, so that several web processes count together."""

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_audit_at", "at"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)
