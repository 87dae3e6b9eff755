"""Requests to a server: tried again where that is safe, errors as exceptions."""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from headwise.client.errors import (
    ConflictError,
    NotFoundError,
    Problem,
    RefusedError,
    ServerError,
    SignInError,
    UnreachableError,
)

_UNKNOWN = ("#no-address", "#method")
"""Ends of the types of errors about requests that a server does not know."""
SAME_RELEASE = "Use the same release on both sides."
RETRY_SECONDS = 60.0
"""Time for which a request is tried again: a server may be restarting."""
CONNECT_SECONDS = 10.0
"""Most seconds to wait for a connection."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_BUSY = (429, 502, 503, 504)
_ERRORS: dict[int, type[ServerError]] = {
    **dict.fromkeys((400, 413, 415, 422), RefusedError),
    **dict.fromkeys((401, 403), SignInError),
    404: NotFoundError,
    409: ConflictError,
}


class Answer(dict[str, Any]):
    """An object of an answer. What it lacks, a server of another release does not know yet."""

    def __missing__(self, key: str) -> Any:
        raise ServerError(
            f"The server's answer has no {key!r}: it runs an older release than this one, "
            f"{version('headwise')}. {SAME_RELEASE}"
        )


class Connection:
    """Connections to one server. Redirections are not followed: a token goes to no other address.

    retry_seconds: time for which a request without an answer is sent again
    """

    def __init__(self, address: str, token: str | None, timeout: float) -> None:
        headers = {"Accept": "application/json", "User-Agent": "headwise-client"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        base = address.rstrip("/") + "/api/v1"
        self.address = address.rstrip("/")
        self.retry_seconds = RETRY_SECONDS
        limits = httpx2.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        self._http = httpx2.Client(base_url=base, headers=headers, timeout=limits)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request, and return the decoded answer. Raises ServerError."""
        return self.decoded(self.send(method, path, body=body, query=query, files=files))

    def decoded(self, response: httpx2.Response) -> Any:
        """Decode an answer, with `Answer` for its objects. Raises ServerError if it is no JSON."""
        try:
            return json.loads(response.content, object_hook=Answer)
        except ValueError:
            raise self._error(response) from None

    def rows(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows of a list, `name` in its answers; further pages are asked for as you go on."""
        following: str | None = path
        asked: Mapping[str, Any] | None = query
        while following:
            page = self.json("GET", following, query=asked)
            yield from page[name]
            # The address of the next page has the query.
            following, asked = page["next"] and page["next"].removeprefix("/api/v1"), None

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request until the server answers. Raises ServerError.

        A POST that creates something is carried out once, however often it is sent.
        """
        sent = dict(headers or {})
        if method == "POST":
            sent["Idempotency-Key"] = str(uuid.uuid4())
        # Even without parameters, a mapping would take the place of the query in `path`.
        given = {key: value for key, value in (query or {}).items() if value is not None} or None
        deadline, wait = time.monotonic() + self.retry_seconds, _FIRST_WAIT
        while True:
            try:
                response = self._http.request(
                    method, path, json=body, params=given, files=files, headers=sent
                )
                if response.status_code not in _BUSY and not _being_answered(response):
                    break
                error: ServerError = self._error(response)
                asked = response.headers.get("Retry-After", "")
                wait = float(asked) if asked.isdecimal() else wait
            except httpx2.TransportError as failed:
                error = self._unreachable(failed)
            if time.monotonic() + wait > deadline:
                raise error
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        if response.is_error or response.has_redirect_location:
            raise self._error(response)
        return response

    @contextmanager
    def stream(
        self, path: str, *, method: str = "GET", body: object = None
    ) -> Iterator[Iterator[bytes]]:
        """Open an answer that is read in pieces. Raises ServerError."""
        headers = {"Accept": "*/*"}
        try:
            with self._http.stream(method, path, json=body, headers=headers) as response:
                if response.is_error or response.has_redirect_location:
                    response.read()
                    raise self._error(response)
                yield response.iter_bytes()
        except httpx2.TransportError as failed:
            raise self._unreachable(failed) from None

    def _error(self, response: httpx2.Response) -> ServerError:
        """The error that an answer is: RFC 9457, or whatever something else said."""
        status = response.status_code
        kind = _ERRORS.get(status, ServerError)
        if response.has_redirect_location:
            there = response.headers["Location"]
            return kind(f"{self.address} leads to {there}. Use the address there.", status)
        try:
            body = response.json()
            problems = [Problem(**one) for one in body["problems"]]
            is_unknown = body["type"].endswith(_UNKNOWN)
        except (ValueError, KeyError, TypeError, AttributeError):
            said = " ".join(response.text.split())[:80]
            answer = f"{status} {response.reason_phrase}".rstrip()
            return kind(
                f"{self.address} answered {answer} as no Headwise server does: {said!r}. "
                "Check the address, and what is between here and there.",
                status,
            )
        if is_unknown:
            release = self._release()
            if release not in (None, version("headwise")):
                return ServerError(
                    f"{self.address} does not know this request: it runs Headwise {release}, and "
                    f"this is {version('headwise')}. {SAME_RELEASE}",
                    status,
                )
        return kind(" ".join(map(str, problems)) or body["detail"], status, problems)

    def _release(self) -> str | None:
        """The release of the server; None if it is no server of ours."""
        try:
            return str(self._http.get("/openapi.json").json()["info"]["version"])
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return None

    def _unreachable(self, failed: httpx2.TransportError) -> UnreachableError:
        return UnreachableError(
            f"{self.address} does not answer: {_reason(failed)}{_by_proxy(self.address)}"
        )


def _being_answered(response: httpx2.Response) -> bool:
    """True if the same request, sent before, is still being carried out."""
    return response.status_code == 409 and "Idempotency-Key" in response.text


def _reason(failed: httpx2.TransportError) -> str:
    """Say why there is no answer, and what to do about it."""
    cause = _first_cause(failed)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message}). Trust its authority on this "
            "machine, or name its certificate in SSL_CERT_FILE."
        )
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason or cause}). Check https:// and the port."
    if isinstance(cause, socket.gaierror):
        return "its name is unknown. Check the address."
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there. Check the address, or start `headwise web` there."
    if isinstance(failed, httpx2.TimeoutException):
        return "it takes too long. Try again, and check the address and what is on the way."
    return f"{failed or type(failed).__name__}. Try again, and check the address."


def _by_proxy(address: str) -> str:
    """The proxy that requests to an address take, in a sentence; empty without one."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.netloc):
        return ""
    place = urlsplit(proxy).netloc.rpartition("@")[2] or proxy
    return f" It is asked through the proxy {place} ({parts.scheme.upper()}_PROXY)."


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
