"""A log line for each request, and the id by which other lines and its answer name it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

log: Any = structlog.get_logger("requests")

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HEADER = b"x-request-id"
REQUEST = "headwise.request"
"""Key of a WSGI environment: the request's `RequestLog`; absent under Flask's test client."""
QUIET = ("/healthz", "/readyz", "/metrics", "/assets/")
"""Addresses that machines and every page ask for: their successes are logged as debug."""
SECRET = ("/welcome/", "/sql/link/", "/api/v1/sql/link/")
"""Addresses whose last part is a secret."""
LONGEST_PATH = 500
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class RequestLog:
    """A request on its way: what is logged at its end."""

    def __init__(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(HEADER, "")
        self.number = given if _ID.fullmatch(given) else uuid.uuid4().hex
        """The client's own id for it, if it is well-formed."""
        trace = _TRACE.fullmatch(headers.get(b"traceparent", ""))
        self.user: str | None = None
        """Set by the application, which alone knows."""
        self._trace = trace[1] if trace else None
        self._method = scope["method"]
        self._path = _shown(scope["raw_path"].decode("latin-1"))
        self._client = (scope.get("client") or ("",))[0]
        self._began = time.monotonic()
        self._status: int | None = None
        self._bytes = 0

    def names(self) -> dict[str, str]:
        """The fields of every line that is logged for the request."""
        return {"request": self.number, **({"trace": self._trace} if self._trace else {})}

    def watching(self, send: Send) -> Send:
        """Wrap `send`: the answer gets the id, and its bytes are counted."""

        async def watched(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                own = (HEADER, self.number.encode())
                message = {**message, "headers": [*message["headers"], own]}
            else:
                self._bytes += len(message.get("body", b""))
            await send(message)

        return watched

    def end(self) -> None:
        """Log it. Without a status, the client went away before it was answered."""
        status = self._status or 0
        quiet = self._path.startswith(QUIET) and 0 < status < 400
        write = log.debug if quiet else log.warning if status >= 500 else log.info
        known = {"user": self.user} if self.user else {}
        write(
            "request",
            method=self._method,
            path=self._path,
            status=self._status,
            seconds=round(time.monotonic() - self._began, 4),
            bytes=self._bytes,
            client=self._client,
            **known,
        )


def _shown(path: str) -> str:
    """A path as it is logged: encoded, so that it is one line, and without its secrets."""
    path = path.partition("?")[0]  # queries may have some
    for prefix in SECRET:
        if path.startswith(prefix):
            return f"{prefix}…"
    return path[:LONGEST_PATH]
