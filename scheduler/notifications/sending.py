"""Sending one notification in a process of its own, within limits of time, memory and addresses."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from jobs.errors import UnavailableError, refuse
from jobs.notifications import NewRecipient, is_webhook
from jobs.processes.limited_process import ask, end, start
from jobs.settings import Settings

SECONDS = 45.0
"""Time after which the process is killed."""
PATIENCE = 15.0
"""Longest wait for a receiver, for a connection and for each part of its answer."""
_KEPT = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
)
"""Variables that the process takes over: proxies and certificates of the site."""
_PROCESS = "scheduler.notifications.sending_process"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of sending a notification."""

    error: str | None = None
    final: bool = False
    """True if another try does not help."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A notification as text, and as JSON for webhooks."""

    title: str
    body: str
    payload: dict[str, Any]


def describe(new: NewRecipient, settings: Settings) -> tuple[str, str]:
    """Find the service of an address, and the address without its secrets.

    Raises InputError for an address that Headwise cannot send to.
    """
    if new.is_webhook:
        parts = urlsplit(new.address)
        if not parts.hostname or parts.username or parts.password:
            message = "must have a host, and no user or password"
            raise refuse("address", None, message, "The signature says who sends it.")
        return "Webhook", f"{parts.scheme}://{parts.netloc}/…"
    if new.is_mail:
        if not settings.mail_url:
            message = "needs a mail server"
            raise refuse("address", new.address, message, "Set HEADWISE_MAIL_URL.")
        return "E-mail", new.address
    answer = _run({"check": True, "address": new.address, "networks": []})
    if "error" in answer:
        remedy = NewRecipient.model_fields["address"].description or ""
        raise refuse("address", None, f"is not usable: {answer['error']}", remedy)
    return answer["service"], answer["shown"]


def send(
    address: str, secret: str | None, message: Message, number: int, settings: Settings
) -> Outcome:
    """Send a message.

    number: of the notification. The id of a webhook is made of it: the same at every try, so that
        a receiver that sees it twice knows
    """
    mail = "@" in address and "://" not in address
    webhook = is_webhook(address)
    answer = _run(
        {
            "address": _mail_address(settings.mail_url, address) if mail else address,
            # The mail server is the administrator's own.
            "networks": None if mail else settings.notify_networks.split(),
            "title": message.title,
            "body": message.body,
            "payload": message.payload if webhook else None,
            "secret": secret,
            "patience": PATIENCE,
            "id": f"msg_{number}",
            "timestamp": int(time.time()),
        }
    )
    if answer.get("sent"):
        return Outcome()
    return Outcome(error=answer["error"], final=answer["final"])


def _mail_address(server: str, to: str) -> str:
    return f"{server}{'&' if '?' in server else '?'}to={quote(to)}"


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Ask the process. Raises UnavailableError where it cannot be started."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Nobody's stored passwords are sent along.
    environment = {**kept, "NETRC": os.devnull}
    child = start(_PROCESS, stderr=subprocess.DEVNULL, environment=environment)
    timer = threading.Timer(SECONDS, child.kill)
    timer.daemon = True
    timer.start()
    try:
        ask(child, request)
        assert child.stdout is not None
        said = child.stdout.readline(1 << 16)
    finally:
        timer.cancel()
        end(child)
    if not said.endswith(b"\n"):
        if request.get("check"):
            raise UnavailableError("The process that checks addresses failed; try again.")
        return {"error": f"there was no answer within {SECONDS:g} s", "final": False}
    answer: dict[str, Any] = json.loads(said)
    return answer
