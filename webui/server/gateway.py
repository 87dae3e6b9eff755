"""The way from the event loop to the Flask application, which runs in threads.

A request takes a thread once it is there whole, and only in the room of its kind. Its answer is
sent by the event loop: a slow reader holds no thread, and one without a stream no seat.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any
from urllib.parse import unquote_to_bytes

import structlog
from flask import Flask

from jobs.errors import Problem
from webui.context import Context
from webui.contract import problems
from webui.server.bodies import (
    Bodies,
    GoneError,
    Receive,
    TooLargeError,
    TooSlowError,
    discard,
)
from webui.server.connections import Connection, Waiting
from webui.server.request_log import REQUEST, RequestLog
from webui.server.rooms import FullError, Room, make_rooms
from webui.server.routes import REFUSAL, ROOMS, RoomName, endpoint_of, most_bytes

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODIES = 8
"""Largest bodies that fit into the space for all of them."""
WHOLE = 8 << 20
"""An answer of up to so many bytes is made in one go."""
WAITING = 64 << 20
"""Bytes of such answers that wait for their readers; beyond, the oldest is given up."""
PIECE = 1 << 16


@dataclass(kw_only=True)
class Answer:
    """The answer of the application."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    rest: Iterator[bytes] | None
    """Pieces that are still to be made; None if the body is whole."""
    close: Callable[[], None]


class Gateway:
    """The ASGI application around the dashboard's WSGI application, for the event loop alone."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        own: Context = app.extensions["headwise"]
        self._megabytes = own.settings.upload_megabytes
        self._bodies = Bodies(BODIES * most_bytes("upload_api.upload", self._megabytes))
        self._rooms = make_rooms()
        self._waiting = Waiting(WAITING)
        self._refusals = Room("refusals", threads=1, waiting=200, patience=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and log it."""
        request = RequestLog(scope)
        scope["state"]["request"] = request
        with structlog.contextvars.bound_contextvars(**request.names()):
            try:
                await self._answer(scope, receive, request.watching(send))
            finally:
                request.end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: HTTPStatus | None = None
        scope = _in_origin_form(scope)
        try:
            await self._serve(scope, receive, send)
        except GoneError:
            return
        except FullError:
            refusal = HTTPStatus.SERVICE_UNAVAILABLE
        except TooLargeError:
            refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        except TooSlowError:
            refusal = HTTPStatus.REQUEST_TIMEOUT
        if refusal is not None:
            await self._refuse(refusal, scope, receive, send)

    def close(self) -> None:
        """Start no request any more."""
        for room in (*self._rooms.values(), self._refusals):
            room.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        endpoint = endpoint_of(self._app, scope["method"], path)
        name = ROOMS.get(endpoint or "", RoomName.PAGES)
        room = self._rooms.get(name)
        if room is not None:
            room.check()
        most = most_bytes(endpoint, self._megabytes)
        async with self._bodies.read(receive, most, _declared(scope)) as (body, size):
            environ = make_environ(scope, body, size)
            if room is None:  # it waits for nothing, so it may run in the event loop
                await self._send_whole(call(self._app, environ), scope, send)
                return
            async with room.seat():
                answer = await room.run(call, self._app, environ)
                if answer.rest is not None:
                    await _stream(answer, room, scope, send)
                    return
        await self._send_whole(answer, scope, send)

    async def _send_whole(self, answer: Answer, scope: Scope, send: Send) -> None:
        """Send an answer as fast as its reader takes it."""
        connection = scope["state"]["connection"]
        start = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": answer.headers,
        }
        with self._waiting.hold(connection, len(answer.body)):
            await send(start)
            await _send_parts(answer.body, connection, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _refuse(self, status: HTTPStatus, scope: Scope, receive: Receive, send: Send) -> None:
        environ = {**make_environ(scope, BytesIO(), 0), REFUSAL: status.value}
        try:
            async with self._refusals.seat():
                answer = await self._refusals.run(call, self._app, environ)
        except FullError:
            answer = _too_many()
        answer.headers.append((b"connection", b"close"))
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def make_environ(scope: Scope, body: IO[bytes], size: int) -> dict[str, Any]:
    """The WSGI environment of a request whose body is there."""
    host, port = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "CONTENT_LENGTH": str(size),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        REQUEST: scope["state"].get("request"),
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if "_" in name or name in ("content-length", "transfer-encoding", "upgrade"):
            # A name with "_" would pass for another one; the length is what arrived; and nothing
            # here is a WebSocket, as which werkzeug would look for it.
            continue
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def call(app: Flask, environ: dict[str, Any]) -> Answer:
    """Call the application; a body without a length, or with a great one, is left to be made."""
    head: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> object:
        head["status"] = int(status.split(" ", 1)[0])
        head["headers"] = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        return None

    made: Iterable[bytes] = app(environ, start)  # type: ignore[arg-type]
    close: Callable[[], None] = getattr(made, "close", lambda: None)
    length = dict(head["headers"]).get(b"content-length")
    if (length is not None and int(length) <= WHOLE) or environ["REQUEST_METHOD"] == "HEAD":
        try:
            body = b"".join(made)
        finally:
            close()
        return Answer(**head, body=body, rest=None, close=lambda: None)
    return Answer(**head, body=b"", rest=iter(made), close=close)


def _too_many() -> Answer:
    """The answer where not even a refusal finds a thread."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    message, remedy = "there are too many requests", "Try again in a few seconds."
    problem = Problem(field="request", value=None, message=message, remedy=remedy)
    body = problems.body(status, status.phrase, [problem])
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(problems.RETRY_SECONDS[status]).encode()),
    ]
    return Answer(status=status.value, headers=headers, body=body, rest=None, close=lambda: None)


def _in_origin_form(scope: Scope) -> Scope:
    """The scope of a request for `http://host/path`, which proxies send, as one for `/path`."""
    found = _ABSOLUTE.match(scope["raw_path"])
    if found is None:
        return scope
    raw = scope["raw_path"][found.end() :] or b"/"
    return {**scope, "raw_path": raw, "path": unquote_to_bytes(raw).decode(errors="replace")}


_ABSOLUTE = re.compile(rb"https?://[^/]*", re.IGNORECASE)


def _declared(scope: Scope) -> int | None:
    """The length that a request says it has; the parser has checked that it is a number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)


async def _send_parts(body: bytes, connection: Connection, send: Send) -> None:
    """Send a body, or a piece of one, in parts: each waits until the reader took those before."""
    for place in range(0, len(body), PIECE):
        if connection.is_gone:
            return
        part = body[place : place + PIECE]
        await send({"type": "http.response.body", "body": part, "more_body": True})


async def _stream(answer: Answer, room: Room, scope: Scope, send: Send) -> None:
    """Send piece after piece; each is made in a thread, and waits for its reader in none."""
    connection = scope["state"]["connection"]
    try:
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        while not connection.is_gone:
            piece = await room.run(_next_piece, answer.rest or iter(()))
            await _send_parts(piece, connection, send)
            if not piece:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
    finally:
        await asyncio.shield(room.run(answer.close))


def _next_piece(rest: Iterator[bytes]) -> bytes:
    """The next bytes, several small pieces together; empty at the end."""
    gathered: list[bytes] = []
    size = 0
    for piece in rest:
        gathered.append(piece)
        size += len(piece)
        if size >= PIECE:
            break
    return b"".join(gathered)
