"""Forms from pydantic models: a text field, choice or checkbox for every field.

Names are dotted (`rule.per_class`). Numbers and lists stay text: the model reads them, and names
what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.errors import Problem


@dataclass(frozen=True, kw_only=True)
class FormField:
    """A field of a model as a form shows it."""

    help: str
    default: Any
    types: tuple[Any, ...]
    """Its types without None and annotations."""
    nullable: bool

    @property
    def is_number(self) -> bool:
        """True for a field that holds nothing but a number."""
        return all(one in (int, float) for one in self.types)

    @property
    def is_checkbox(self) -> bool:
        """True for a field that is on or off."""
        return self.types == (bool,)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a choice, with '' for none; empty for other fields."""
        values = [
            value for one in self.types if get_origin(one) is Literal for value in get_args(one)
        ]
        return ("", *values) if values and self.nullable else tuple(values)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Controls that together are one field of a model, where a single one would not do."""

    read: Callable[[Mapping[str, str]], Any]
    """The field's value from the values of the controls."""
    show: Callable[[Any], dict[str, str]]
    """The values of the controls from the field's value."""


@cache
def fields_of(model: type[BaseModel]) -> dict[str, FormField]:
    """Every field of a model by its dotted name, those of models within it included."""
    found: dict[str, FormField] = {}
    for name, info in model.model_fields.items():
        types, nullable = _types(info.annotation)
        if inner := next((one for one in types if _is_model(one)), None):
            found |= {f"{name}.{key}": value for key, value in fields_of(inner).items()}
        else:
            found[name] = FormField(
                help=info.description or "",
                default=_default(info, types),
                types=types,
                nullable=nullable,
            )
    return found


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
            place[last] = text
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


def problems_by_field(problems: Sequence[Problem], shown: Collection[str]) -> dict[str, Any]:
    """The problems as templates show them: at their fields, and those of others at the top."""
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.field, []).append(problem)
    elsewhere = [problem for problem in problems if problem.field not in shown]
    return {"problems": problems, "by_field": by_field, "elsewhere": elsewhere}


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


def _default(info: FieldInfo, types: tuple[Any, ...]) -> Any:
    """The default of a field; of a choice without one the first value, which browsers show."""
    if not info.is_required():
        return info.get_default(call_default_factory=True)
    return next((get_args(one)[0] for one in types if get_origin(one) is Literal), None)


def _types(annotation: Any) -> tuple[tuple[Any, ...], bool]:
    """The types of an annotation without None, and True where None is one of them."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return (annotation,), False
    parts = [one for one in get_args(annotation) if one is not type(None)]
    types = tuple(inner for part in parts for inner in _types(part)[0])
    return types, len(parts) < len(get_args(annotation))


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
