"""Requests of the API, read strictly: JSON that all readers understand alike, known parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from flask import abort, request
from pydantic import BaseModel, ValidationError

from jobs.errors import InputError, refuse
from jobs.specs.base import read_strictly
from jobs.specs.validation import problems
from webui.contract.models import Query, RawBody

Model = TypeVar("Model", bound=BaseModel)
QueryModel = TypeVar("QueryModel", bound=Query)

DEEPEST = 50
"""Objects and lists within each other in a body."""


def parse_json(raw: bytes) -> Any:
    """Decode JSON that the database can hold. Raises InputError.

    Refuses NaN and infinity, which are not JSON; a key given twice, of which readers take different
    ones; NUL characters, which PostgreSQL cannot store; lone surrogates, which are no Unicode text.
    """
    try:
        found = json.loads(
            raw, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        shown = raw[:80].decode(errors="replace")
        raise refuse("body", shown, f"is not JSON: {reason}", "Send a JSON object.") from None
    for text in _texts(found):
        if "\0" in text:
            raise refuse("body", None, "has a NUL character", "Remove \\u0000.")
        if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
            raise refuse("body", None, "has half a surrogate pair", "Send Unicode text.")
    return found


def read_body(model: type[Model]) -> Model:
    """The request's JSON as a model. Raises InputError with every problem."""
    if request.mimetype and request.mimetype != "application/json":
        abort(415)
    raw = parse_json(request.get_data())
    if issubclass(model, RawBody):
        return model(raw)
    if not isinstance(raw, dict):
        raise refuse("body", raw, "must be a JSON object", "Send a JSON object.")
    try:
        return read_strictly(model, raw)
    except ValidationError as error:
        raise InputError(problems(error, model)) from None


def read_query(model: type[QueryModel]) -> QueryModel:
    """The query string as a model; empty values mean the default. Raises InputError."""
    given = request.args.to_dict(flat=False)
    for name, values in given.items():
        if len(values) > 1:
            raise refuse(name, values[1], "is given more than once", "Give it once.")
    return _checked(model, {name: one for name, (one,) in given.items() if one.strip()})


def _checked(model: type[Model], raw: dict[str, Any]) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InputError(problems(error, model)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} is given twice")
        found[key] = value
    return found


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text and key of a decoded value."""
    if depth > DEEPEST:
        message = f"has more than {DEEPEST} objects and lists within each other"
        raise refuse("body", None, message, "Send less deeply nested JSON.")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _texts(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, depth + 1)
