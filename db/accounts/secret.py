"""Secrets that the server makes: shown once, stored as hashes."""

from __future__ import annotations

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    """A secret of 256 random bits that is safe in addresses and headers."""
    return prefix + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """The form in which a secret is stored. It is random, so it needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
