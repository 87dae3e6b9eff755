"""`Idempotency-Key`: a request that creates something is carried out once, however often it comes.

As the IETF's draft has it: the same key with another request is refused with 422, while the first
is being answered with 409, and later the kept answer is sent again. A refused request gives its key
back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from flask import Response, request

from db.ops import replies
from jobs.errors import ConflictError, InputError, Problem, UnavailableError, refuse
from webui.accounts.person import person
from webui.context import database

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
"""Header of a kept answer that is sent again."""
_KEY = re.compile(r"[!-~]{1,200}")


class KeyReusedError(InputError):
    """A key that belongs to another request."""


def once(view: Callable[..., Response], secret: str | None = None) -> Callable[..., Response]:
    """Carry out requests with the same key once.

    secret: field of the answer that is not kept, and null when it is sent again
    """

    @wraps(view)
    def answer(*args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            message = "must be 1 to 200 visible ASCII characters"
            raise refuse(HEADER, key, message, "A UUID will do.")
        return _once(key, lambda: view(*args, **kwargs), secret)

    return answer


def _once(key: str, carry_out: Callable[[], Response], secret: str | None) -> Response:
    opened, owner, digest = database(), _owner(), _request_hash()
    if found := replies.reserve(opened, owner, key, digest):
        return _again(key, digest, found)
    try:
        response = carry_out()
    except BaseException:
        with suppress(UnavailableError):
            replies.release(opened, owner, key)
        raise
    replies.keep(opened, owner, key, response.status_code, _kept(response, secret))
    return response


def _again(key: str, digest: str, found: replies.Reply) -> Response:
    if found.request_hash != digest:
        problem = Problem(
            field=HEADER,
            value=key,
            message="belongs to another request",
            remedy="Use a new key for each thing to create.",
        )
        raise KeyReusedError(problem)
    if found.status is None or found.body is None:
        raise ConflictError(
            "The request with this Idempotency-Key is being answered, or its process has ended. "
            "Send it again in a moment; if this stays, look whether it was carried out."
        )
    response = Response(found.body, status=found.status, mimetype="application/json")
    response.headers[REPLAYED] = "true"
    return response


def _kept(response: Response, secret: str | None) -> bytes:
    """The body of an answer without its secret."""
    body = response.get_data()
    return body if secret is None else json.dumps({**json.loads(body), secret: None}).encode()


def _owner() -> str:
    """Whose keys they are: a person's own, and without sign-in everybody's."""
    found = person()
    return found.folded if found and found.account else ""


def _request_hash() -> str:
    """A hash of what is asked for: method, address and body; of files their names and content."""
    digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode(errors="replace"))
    if request.mimetype != "multipart/form-data":
        digest.update(request.get_data())
        return digest.hexdigest()
    digest.update(json.dumps(sorted(request.form.items(multi=True))).encode())
    for name, file in sorted(request.files.items(multi=True), key=lambda pair: pair[0]):
        digest.update(json.dumps([name, file.filename]).encode())
        digest.update(hashlib.file_digest(file.stream, "sha256").digest())  # type: ignore[arg-type]
        file.stream.seek(0)
    return digest.hexdigest()
