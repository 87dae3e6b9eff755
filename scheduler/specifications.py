"""Specifications as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from jobs.inputs.data.uploads import original_name
from jobs.kinds import DEFAULT, SPECS
from jobs.specs.base import inner_model

_NOT_SHOWN = ("version", "kind")
"""Fields of a specification that its page says elsewhere."""


def spec_rows(spec: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The keys of a specification that are set, as (name, value, whether it is the default)."""
    return list(_rows(SPECS[spec.get("kind", DEFAULT)], spec))


def _rows(
    model: type[BaseModel], values: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, bool]]:
    # The stored keys are sorted; the documented order reads better.
    for name, field in model.model_fields.items():
        value = values.get(name)
        if value is None or (not prefix and name in _NOT_SHOWN):
            continue
        part = inner_model(field.annotation)
        if part is not None and isinstance(value, dict):
            yield from _rows(part, value, f"{prefix}{name}.")
        else:
            yield prefix + name, _shown(_as_uploaded(value)), field.default == value


def _as_uploaded(value: object) -> object:
    """The name that an uploaded file had, in place of its path."""
    name = original_name(value) if isinstance(value, str) else None
    return value if name is None else f"{name} (uploaded)"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(
            " ".join(map(str, part.values())) if isinstance(part, dict) else str(part)
            for part in value
        )
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
