"""The process that sends one notification, or checks an address.

It reads a request as JSON and answers with one line. No connection is made to a private address
that is not allowed: this is decided at the connection itself, after names were resolved and
redirects followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import resource
import smtplib
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from jobs.processes.limits import limit_process

MEMORY = 1 << 30
_LOCAL = {"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
"""Services of Apprise that would speak to this machine itself."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Its addresses end with the IPv4 address that a gateway sends their packets to."""
_LOCAL_NETWORKS = tuple(map(IPv6Network, ("::/96", "64:ff9b:1::/48", "fec0::/10")))
"""Local networks of earlier standards, and one for gateways, which `is_global` does not know."""
_PERMANENT = frozenset({*range(300, 400), 400, 401, 403, 404, 405, 410})
"""Answers of a webhook that another try does not help against."""


class RefusedError(Exception):
    """Another try does not help."""


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    limit_process({resource.RLIMIT_DATA: MEMORY, resource.RLIMIT_FSIZE: 0})
    if request.get("networks") is not None:
        guard([ip_network(network) for network in request["networks"]])
    try:
        answer = _check(request) if request.get("check") else _send(request)
    except RefusedError as error:
        answer = {"error": str(error), "final": True}
    except Exception as error:  # noqa: BLE001 - whatever a service raises is its answer
        answer = {"error": f"{type(error).__name__}: {error}"[:300], "final": False}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def guard(allowed: Sequence[IPv4Network | IPv6Network]) -> None:
    """Refuse connections of this process to private addresses outside `allowed`, and programs."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "syslog.syslog"):
            raise RefusedError("the service needs a program of this machine")
        connects = event in ("socket.connect", "socket.sendto", "socket.sendmsg")
        if connects and arguments[1] is not None:  # none is given for a socket that is connected
            refuse_private(arguments[1], allowed)

    sys.addaudithook(watch)


def refuse_private(place: object, allowed: Sequence[IPv4Network | IPv6Network]) -> None:
    """Refuse an address that a connection is about to be made to. Raises RefusedError."""
    if not isinstance(place, tuple):
        raise RefusedError("the service needs a socket of this machine")
    try:
        found = ip_address(str(place[0]).partition("%")[0])
    except ValueError:
        raise RefusedError(f"{place[0]} was not resolved") from None
    reached = _reached(found)
    is_allowed = any(found in network or reached in network for network in allowed)
    if not _is_public(reached) and not is_allowed:
        raise RefusedError(
            f"{found} is a private address; an administrator may allow it with "
            "HEADWISE_NOTIFY_NETWORKS"
        )


def _reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that a connection reaches: the IPv4 address within one of IPv6, if it has one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for an address of one machine of the internet."""
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _LOCAL_NETWORKS)
    )


def _check(request: dict[str, Any]) -> dict[str, Any]:
    """Say what service an address belongs to, and show it without secrets."""
    service = _service(request["address"])
    return {
        "service": str(service.service_name),
        "shown": service.url(privacy=True).partition("?")[0],
    }


def _service(address: str) -> Any:
    import apprise
    from apprise.manager_plugins import NotificationManager

    scheme = address.partition("://")[0].casefold()
    asset = apprise.AppriseAsset(async_mode=False)
    service = apprise.Apprise.instantiate(address, asset=asset)
    if scheme in _LOCAL or scheme not in NotificationManager():  # type: ignore[no-untyped-call]
        raise RefusedError(f"{scheme[:40]}:// is not a service that can be used")
    if service is None:  # what Apprise says has the whole address in it
        raise RefusedError(
            f"{scheme}:// needs other parts than these; see its page in Apprise's wiki"
        )
    return service


class _Heard(logging.Handler):
    """Keeps what Apprise logs, and the last exception that it caught."""

    def __init__(self) -> None:
        super().__init__()
        self.line = "it was not accepted"
        self.caught: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.caught = sys.exc_info()[1] or self.caught
        if record.levelno >= logging.WARNING:
            self.line = record.getMessage()[:300]


def _hear() -> _Heard:
    from apprise.logger import logger

    heard = _Heard()
    logger.setLevel(logging.DEBUG)  # the level at which it logs what it caught
    logger.addHandler(heard)
    return heard


def _send(request: dict[str, Any]) -> dict[str, Any]:
    if request["payload"] is not None:
        return _post(request)
    service = _service(request["address"])
    service.socket_connect_timeout = service.socket_read_timeout = request["patience"]
    heard = _hear()
    if service.notify(body=request["body"], title=request["title"], body_format="text"):
        return {"sent": True}
    if hasattr(service, "smtp_host"):
        return _mail_refused(heard)
    return {"error": heard.line, "final": False}


def _mail_refused(heard: _Heard) -> dict[str, Any]:
    """The words of the mail server, which Apprise only logs.

    Another try does not help where the server refuses recipient or message for good. A password,
    a sender or a certificate is mended by an administrator.
    """
    match heard.caught:
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=text):
            error, final = f"the mail server refused user or password: {_words(code, text)}", False
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            address, (code, text) = next(iter(refused.items()))
            error, final = f"the mail server refused {address}: {_words(code, text)}", code >= 500
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=text) as answer:
            error = f"the mail server answered {_words(code, text)}"
            final = isinstance(answer, smtplib.SMTPDataError) and code >= 500
        case OSError() as reason:  # as all of smtplib's
            error, final = f"the mail server cannot be used: {reason}", False
        case _:
            error, final = heard.line, False
    return {"error": error[:300], "final": final}


def _words(code: int, text: bytes | str) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(said.split())}"


def _post(request: dict[str, Any]) -> dict[str, Any]:
    """Post JSON, signed as the Standard Webhooks specification (version 1) says."""
    import requests

    body = json.dumps(request["payload"], separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Headwise",
        "webhook-id": request["id"],
        "webhook-timestamp": str(request["timestamp"]),
        "webhook-signature": sign(request["secret"], request["id"], request["timestamp"], body),
    }
    with requests.post(
        request["address"],
        data=body,
        headers=headers,
        timeout=request["patience"],
        allow_redirects=False,
        stream=True,  # whatever the receiver says more is not read
    ) as response:
        pass
    if 200 <= response.status_code < 300:
        return {"sent": True}
    reason = f"it answered {response.status_code} {response.reason or ''}".strip()
    return {"error": reason, "final": response.status_code in _PERMANENT}


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a webhook: HMAC-SHA256 of id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
