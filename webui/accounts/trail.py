"""The audit log's entries of requests."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Response, g, request

from db.accounts import audit
from db.accounts.accounts import Account
from db.accounts.audit import Event
from jobs.errors import UnavailableError
from webui.accounts.permissions import OWNED, Rule
from webui.accounts.person import person
from webui.accounts.proxies import client_address
from webui.context import database
from webui.contract.idempotency import REPLAYED

log = logging.getLogger(__name__)

_OBJECTS = {"job_id": "job", "study": "study", "account": "account"}
"""Names in addresses, and what they are the numbers of."""


def write(action: str, *, user: str | None = None, object: str = "", **detail: object) -> None:
    """Write an entry now; a database that is away does not keep anybody from an answer."""
    found = person()
    if found and found.token:
        detail["token"] = found.token.number
    event = Event(
        user=(found.folded if found else "") if user is None else user,
        action=action,
        address=client_address(),
        object=object,
        detail=detail,
    )
    try:
        audit.write(database(), event)
    except UnavailableError as error:
        log.warning("not in the audit log: %s %s %s: %s", event.user, action, object, error)


def write_account(action: str, account: Account, **detail: object) -> None:
    """Write what somebody who signs in, or their provider, did to their account."""
    write(action, user=account.folded, object=f"account {account.folded}", **detail)


def note(**detail: object) -> None:
    """Give the entry of the request that is answered a detail: the new role, the token's scope."""
    g.setdefault("detail", {}).update(detail)


def of_request(rule: Rule, response: Response) -> None:
    """Write what the request did, or was refused."""
    refused = response.status_code == 403
    if not rule.action or (response.status_code >= 400 and not refused):
        return
    if REPLAYED in response.headers:  # it did nothing
        return
    given = request.view_args or {}
    action = rule.action.format_map(_Named(given))
    detail: dict[str, Any] = {"refused": True} if refused else {}
    about = OWNED.get(rule.permission)
    names = _OBJECTS | ({about.argument: about.noun} if about else {})
    detail |= g.get("detail", {})
    detail |= {k: v for k, v in given.items() if k not in names and k not in ("action", "secret")}
    made: list[str] = g.get("made", [])
    write(action, object=", ".join(made) or _object(given, names), **detail)


def _object(given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return next((f"{what} {given[name]}" for name, what in names.items() if name in given), "")


class _Named(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""
