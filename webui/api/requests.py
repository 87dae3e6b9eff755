"""Requests of the API: their JSON and which page of a list they ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flask import request

from jobs.errors import refuse
from webui.context import integer

MOST_ROWS = 500


def limit_and_offset() -> tuple[int, int]:
    """The page of a list that the query string asks for. Raises InputError."""
    return integer("limit", 50, low=1, high=MOST_ROWS), integer("offset", 0)


def read_json() -> Any:
    """The request's body as JSON that the database can hold. Raises InputError."""
    raw = request.get_data(cache=False)
    try:
        parsed = json.loads(raw)
        if any("\0" in text for text in _texts(parsed)):
            raise refuse("body", None, "has a NUL character", "Remove \\u0000.")
        # A lone surrogate is JSON but no Unicode text.
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise refuse(
            "body", raw[:80].decode(errors="replace"), f"is not JSON: {reason}", "Send an object."
        ) from None
    return parsed


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
