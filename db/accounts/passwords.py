"""Passwords: their rules, and their hashes (Argon2id)."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from jobs.errors import refuse
from jobs.people import fold

SHORTEST, LONGEST = 12, 1_000
"""Characters of a password."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""19 MiB, so that the few threads that check passwords at a time stay within the dashboard's."""


def checked_password(password: str, name: str) -> str:
    """The hash of a new password. Raises InputError for one that is easily guessed."""
    if not SHORTEST <= len(password) <= LONGEST:
        message = f"must have {SHORTEST} to {LONGEST:,} characters"
        raise refuse("password", None, message, "Several words make a good one.")
    if len(set(password)) < 5 or fold(password) in (fold(name), fold(name) * 2):
        raise refuse("password", None, "is easily guessed", "Several words make a good one.")
    return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """True if the password is the one of a hash. Without a hash it takes as long, and is False."""
    try:
        _hasher.verify(stored or _nobodys(), password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


@cache
def _nobodys() -> str:
    """A hash to compare with where there is no account: an answer tells nothing by its time."""
    return _hasher.hash("nobody has this password")
