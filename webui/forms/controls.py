"""Forms from pydantic models: a text field, choice or checkbox for every field.

Names are dotted (`rule.per_class`). Numbers and lists are read here, so that models read JSON only;
a text that is none stays, and the model names what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from jobs.errors import Problem
from jobs.specs.fields import fields_of, from_text
from webui.forms.labels import in_words


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Controls that together are one field of a model, where a single one would not do."""

    read: Callable[[Mapping[str, str]], Any]
    """The field's value from the values of the controls."""
    show: Callable[[Any], dict[str, str]]
    """The values of the controls from the field's value."""


def read(
    model: type[BaseModel],
    values: Mapping[str, str],
    names: Iterable[str],
    controls: Mapping[str, Controls] | None = None,
) -> dict[str, Any]:
    """The fields of these names as nested keys of a raw model.

    Empty fields mean the default, or null where that is possible and not the default.
    """
    raw: dict[str, Any] = {}
    for name in names:
        place, last = _place(raw, name)
        field, text = fields_of(model)[name], values.get(name, "").strip()
        if controls and name in controls:
            place[last] = controls[name].read(values)
        elif field.is_checkbox:
            place[last] = bool(text)
        elif text:
            place[last] = from_text(field, text)
        elif name in values and field.nullable and field.default is not None:
            place[last] = None
    return raw


def show(
    raw: Mapping[str, Any], names: Iterable[str], controls: Mapping[str, Controls] | None = None
) -> dict[str, str]:
    """The values of the fields of these names that a raw model has: the reverse of `read`."""
    found: dict[str, str] = {}
    for name in names:
        *path, last = name.split(".")
        place = raw
        for part in path:
            place = place.get(part) or {}
        if last not in place:
            continue
        if controls and name in controls:
            found |= controls[name].show(place[last])
        else:
            found[name] = as_text(place[last])
    return found


def defaults(
    model: type[BaseModel], names: Sequence[str], controls: Mapping[str, Controls] | None = None
) -> dict[str, str]:
    """The values of the fields of these names in an empty form."""
    raw: dict[str, Any] = {}
    for name in names:
        place, last = _place(raw, name)
        place[last] = fields_of(model)[name].default
    return show(raw, names, controls)


def as_shown(
    problems: Sequence[Problem], shown: Collection[str], labels: Mapping[str, str]
) -> list[Problem]:
    """The problems in the words of a form, at its fields: `sources.0.job` at `sources`."""

    def place(field: str) -> str:
        parts = field.split(".")
        prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((prefix for prefix in prefixes if prefix in shown), field)

    return [replace(one, field=place(one.field)) for one in in_words(problems, labels)]


def problems_by_field(
    problems: Sequence[Problem], shown: Collection[str], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The problems as templates show them: at their fields, and those of others at the top."""
    problems = as_shown(problems, shown, labels)
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.field, []).append(problem)
    elsewhere = [problem for problem in problems if problem.field not in shown]
    return {
        "problems": problems,
        "by_field": by_field,
        "elsewhere": elsewhere,
        "labels": labels,
    }


def as_text(value: object) -> str:
    """The value of a field as its control holds it."""
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value))
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def _place(raw: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The object within `raw` that has the field of a dotted name, and its key there."""
    *path, last = name.split(".")
    for part in path:
        raw = raw.setdefault(part, {})
    return raw, last
