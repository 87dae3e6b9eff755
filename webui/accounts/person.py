"""The person whose request is answered, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g

from db.accounts.accounts import Account
from db.accounts.tokens import Grant
from jobs.people import LOCAL, Role, fold
from webui.accounts.proxies import client_address, network_of


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is signed in, or the one person of an installation without sign-in."""

    name: str
    folded: str
    role: Role
    """With a token what its scope leaves of the account's role."""
    account: Account | None = None
    session: int | None = None
    """The number of the browser's session; None with a token, by a proxy, and without sign-in."""
    token: Grant | None = None
    """The token that the request came with."""

    def may(self, role: Role) -> bool:
        """True if they have the rights of a role."""
        return self.role.rank >= role.rank

    def may_change(self, owner: str) -> bool:
        """True if they may change and delete what belongs to `owner`."""
        own = fold(owner) == self.folded
        return self.may(Role.ADMIN) or (own and self.may(Role.MEMBER))


NOBODY_ELSE = Person(name=LOCAL, folded=LOCAL, role=Role.ADMIN)
"""The person of an installation without sign-in."""


def person() -> Person | None:
    """The person whose request is answered; None before they have signed in."""
    found: Person | None = g.get("person")
    return found


def may(role: str) -> bool:
    """True if the person has the rights of a role; for templates."""
    found = person()
    return found is not None and found.may(Role(role))


def may_change(owner: str) -> bool:
    """True if the person may change and delete what belongs to `owner`; for templates."""
    found = person()
    return found is not None and found.may_change(owner)


def user_name() -> str | None:
    """The name of the signed-in person; None where nobody is, and without sign-in."""
    found = person()
    return found.name if found and found.account else None


def own_name() -> str:
    """The name, as jobs have it, of the person whose request is answered."""
    found = person()
    return found.folded if found else ""


def client() -> str:
    """The one who takes turns with others: the signed-in person, or without sign-in an address."""
    found = person()
    return found.folded if found and found.account else network_of(client_address())
