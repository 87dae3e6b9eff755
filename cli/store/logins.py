"""The servers that somebody has logged in to: a file with their tokens that nobody else reads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_config_path

from headwise.client.errors import Problem
from headwise.client.given import address_fault, token_fault
from jobs.errors import HeadwiseError, refuse

NAME = "servers.json"
_FORBIDDEN = 0o077
"""Rights that others must not have."""


@dataclass(frozen=True, kw_only=True)
class Logins:
    """Tokens by the address of their server; an empty one where nobody signs in."""

    current: str | None = None
    """The server that commands speak to; None for this machine's database."""
    tokens: Mapping[str, str] = field(default_factory=dict)

    def added(self, address: str, token: str) -> Logins:
        """These, with a server that becomes the current one."""
        return Logins(current=address, tokens={**self.tokens, address: token})

    def without(self, address: str) -> Logins:
        """These without a server."""
        rest = {one: token for one, token in self.tokens.items() if one != address}
        return Logins(current=self.current if self.current in rest else None, tokens=rest)


def path() -> Path:
    """The file."""
    return user_config_path("headwise") / NAME


def read() -> Logins:
    """The logins. Raises HeadwiseError for a file that is broken, or that others may read."""
    place = path()
    try:
        with place.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _FORBIDDEN:
                raise HeadwiseError(
                    f"{place} has tokens, and others may read it: `chmod 600 {place}`, and revoke "
                    "the tokens if they may have been read."
                )
            found = json.load(file)
        tokens = {str(address): str(token) for address, token in found["servers"].items()}
        current = found["current"]
        if current is not None and current not in tokens:
            raise ValueError("its current server has no entry")
    except FileNotFoundError:
        return Logins()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{place} cannot be read ({error}). Remove it, and `headwise login` again."
        raise HeadwiseError(message) from None
    return Logins(current=current, tokens=tokens)


def write(logins: Logins) -> None:
    """Replace the file as a whole. Raises HeadwiseError."""
    place = path()
    text = json.dumps({"current": logins.current, "servers": dict(logins.tokens)}, indent=1)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, new = tempfile.mkstemp(dir=place.parent, prefix=NAME)  # readable by its owner alone
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        Path(new).replace(place)
    except OSError as error:
        raise HeadwiseError(f"{place} cannot be written: {error.strerror}.") from None


def checked_address(field: str, given: str) -> str:
    """The address of a server without a slash at its end. Raises InputError."""
    _refuse(address_fault(field, given))
    return given.strip().rstrip("/")


def checked_token(field: str, given: str) -> str:
    """A token without space around it. Raises InputError."""
    _refuse(token_fault(field, given))
    return given.strip()


def _refuse(fault: Problem | None) -> None:
    if fault is not None:
        raise refuse(fault.field, fault.value, fault.message, fault.remedy)
