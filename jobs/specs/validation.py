"""Errors of pydantic in our words: what is wrong, with field, value and remedy.

Every message of the validation library is translated here, by the type of the error; a test walks
over all types, and over every model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from jobs.errors import Problem, nearest
from jobs.specs.base import inner_model

NOT_ACCEPTED = "is not accepted"
"""The words for an error that no model of ours gives."""
UNKNOWN_KIND = "unknown_kind"
"""The type of error of a specification of no kind."""
_TEXT = "must be text"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_SWITCH = "must be true or false"
_OBJECT = "must be a JSON object"
_LIST = "must be a list"
_TIME = "must be a time with its zone, such as 2026-11-30T08:00+01:00"
_WORDS = {
    "at": "{message}",
    "value_error": "{error}",
    UNKNOWN_KIND: "is not a kind of job",
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "invalid_key": "has a key that is not text",
    "json_invalid": "has text that is not Unicode, or is nested too deeply",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_type": _TEXT,
    "path_type": _TEXT,
    "string_unicode": "must be Unicode text",
    "string_pattern_mismatch": "does not have the required form",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "has too many digits",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "iterable_type": _LIST,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_from_date_parsing": _TIME,
    "timezone_aware": _TIME,
}
"""By type of error; braces hold what the error says of the limit that was not kept."""
_LENGTHS = {
    "too_short": ("needs at least", "min_length", "entry", "entries"),
    "too_long": ("takes at most", "max_length", "entry", "entries"),
    "string_too_short": ("needs at least", "min_length", "character", "characters"),
    "string_too_long": ("takes at most", "max_length", "character", "characters"),
}
"""By type of error: the words before a limit, its name, and what is counted."""
_CHOICES = re.compile(r"\^\((\w+(?:\|\w+)+)\)\$$")
"""A pattern that lists words."""
MOST_SUGGESTED = 20
"""Unknown keys whose nearest known one is looked for: a body of a megabyte has 100,000."""
_WITHOUT_VALUE = ("missing", "json_invalid", "at")


def problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every problem of values that are not a `model`."""
    return [problem(item, model) for item in own_errors(error)]


def own_errors(error: ValidationError) -> Iterator[Any]:
    """pydantic's errors, without lists said to be too short because entries were refused."""
    items = error.errors()
    # A set, because a body may have as many wrong entries as it has bytes.
    refused_within = {item["loc"][:end] for item in items for end in range(len(item["loc"]))}
    unknown = 0
    for item in items:
        unknown += item["type"] == "extra_forbidden"
        if item["type"] == "extra_forbidden" and unknown > MOST_SUGGESTED:
            yield {**item, "ctx": {"remedy": "Leave it out."}}
        elif item["type"] != "too_short" or item["loc"] not in refused_within:
            yield item


def problem(item: Any, model: type[BaseModel]) -> Problem:
    """The problem of one of pydantic's errors in `model`: field, value, message and remedy."""
    path = [str(part) for part in item["loc"]]
    if item["type"] == "at":
        path += item["ctx"]["field"].split(".")
    owner, name = _place(model, path)
    value = None if item["type"] in _WITHOUT_VALUE else item["input"]
    if item["type"] == "extra_forbidden" and "ctx" not in item:
        remedy = nearest(path[-1], owner.model_fields if owner else ())
    else:
        info = owner.model_fields.get(name) if owner else None
        remedy = item.get("ctx", {}).get("remedy") or (info.description or "" if info else "")
        value = value if not isinstance(value, Mapping) else None
    field = ".".join(path) or "spec"
    return Problem(field=field, value=value, message=message_of(item), remedy=remedy)


def message_of(item: Any) -> str:
    """The fault that one of pydantic's errors tells, to stand after the name of its field."""
    kind, facts = item["type"], item.get("ctx", {})
    if kind in _LENGTHS:
        message = _length(facts, *_LENGTHS[kind])
    elif kind == "string_pattern_mismatch" and (choices := _CHOICES.match(facts["pattern"])):
        *others, last = (repr(one) for one in choices[1].split("|"))
        message = f"must be {', '.join(others)} or {last}"
    else:
        shown = {name: _bound(value) for name, value in facts.items()}
        message = _WORDS.get(kind, NOT_ACCEPTED).format_map(shown)
    return message[:1].lower() + message[1:]


def _bound(value: object) -> str:
    """A limit as messages show it: thousands are separated."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _length(facts: Mapping[str, Any], words: str, limit: str, one: str, many: str) -> str:
    number = facts[limit]
    if limit == "min_length" and number == 1:
        return "must not be empty"
    return f"{words} {number:,} {one if number == 1 else many}"


def _place(model: type[BaseModel], path: list[str]) -> tuple[type[BaseModel] | None, str]:
    """The model that holds the last field of a path, and its name; entries of lists have none."""
    names = [part for part in path if not part.isdecimal()]
    owner: type[BaseModel] | None = model
    for part in names[:-1]:
        info = owner.model_fields.get(part) if owner else None
        owner = inner_model(info.annotation) if info else None
    return owner, names[-1] if names else ""
