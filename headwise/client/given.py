"""Addresses and tokens as people give them: the fault of one, without its secrets."""

from __future__ import annotations

from urllib.parse import urlsplit

from headwise.client.errors import Problem


def address_fault(field: str, given: str) -> Problem | None:
    """Find the fault of the address of a server; it is not shown: it may have a password."""
    given = given.strip()
    try:
        parts = urlsplit(given)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        valid = valid and parts.port != 0 and given.isprintable() and " " not in given
    except ValueError:
        valid = False
    if not valid:
        message = "is not the address of a server"
        return _problem(field, message, "Write it as https://headwise.example.org.")
    if parts.username or parts.password or parts.query or parts.fragment:
        message = "has more than host, port and path"
        return _problem(
            field, message, "Leave out user, password, ? and #; give a token apart from it."
        )
    return None


def token_fault(field: str, given: str) -> Problem | None:
    """Find the fault of a token, or of none; space around it is no fault."""
    given = given.strip()
    if given.isascii() and given.isprintable() and " " not in given:
        return None
    return _problem(field, "has characters that no token has", "Copy it again.")


def _problem(field: str, message: str, remedy: str) -> Problem:
    return Problem(field=field, value=None, message=message, remedy=remedy)
