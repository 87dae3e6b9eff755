"""Fields of models: the values that they take, and those that a text stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, kw_only=True)
class SpecField:
    """A field of a model, for forms and the command line."""

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


@cache
def fields_of(model: type[BaseModel]) -> dict[str, SpecField]:
    """Every field of a model by its dotted name, those of models within it included."""
    found: dict[str, SpecField] = {}
    for name, info in model.model_fields.items():
        types, nullable = _types(info.annotation)
        if inner := next((one for one in types if _is_model(one)), None):
            found |= {f"{name}.{key}": value for key, value in fields_of(inner).items()}
        else:
            found[name] = SpecField(
                help=info.description or "",
                default=_default(info, types),
                types=types,
                nullable=nullable,
            )
    return found


def from_text(field: SpecField, text: str) -> Any:
    """The value that a text stands for, as JSON has it; commas separate the parts of a list.

    A text that stands for no value of the field stays: the model names what is wrong with it.
    """
    for one in field.types:
        if get_origin(one) is tuple:
            types, _ = _types(get_args(one)[0])
            return [_number(types, part.strip()) for part in text.split(",") if part.strip()]
    if field.is_checkbox:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    return _number(field.types, text)


def _number(types: Sequence[Any], text: str) -> int | float | str:
    for one in (int, float):
        if one in types or float in types:
            try:
                value = one(text)
            except ValueError:
                continue
            if math.isfinite(value):
                return value
    return text


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
