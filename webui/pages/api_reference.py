"""The reference of the API: its document as a page, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, render_template
from markupsafe import Markup, escape

from webui.api.openapi import described
from webui.contract import deprecation
from webui.contract.document import REF
from webui.contract.problems import KINDS, NO_ADDRESS

blueprint = Blueprint("api_reference", __name__)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a model, or a parameter."""

    name: str
    type: Markup
    meaning: str
    required: bool = False
    deprecated: bool = False


@blueprint.get("/help/api")
def show() -> str:
    """Every operation, model and error of the API."""
    document: Any = described()
    by_tag: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            by_tag[found["tags"][0]].append(_operation(path, method, found))
    schemas = document["components"]["schemas"]
    return render_template(
        "api_reference.html",
        tags=by_tag,
        models={name: _model(schema) for name, schema in schemas.items()},
        errors=[*_errors()],
        sunset=deprecation.SUNSET,
    )


def _errors() -> Iterator[tuple[HTTPStatus, str, str]]:
    """Status, name and meaning of every kind of error."""
    for status, kind in KINDS.items():
        yield (status, *kind)
        if status is HTTPStatus.NOT_FOUND:
            yield (status, *NO_ADDRESS)


def _operation(path: str, method: str, found: Mapping[str, Any]) -> dict[str, Any]:
    body = found.get("requestBody", {}).get("content", {})
    answers = [
        (
            code,
            one["description"],
            [_content(kind, c) for kind, c in one.get("content", {}).items()],
        )
        for code, one in found["responses"].items()
        if "$ref" not in one
    ]
    return {
        "id": found["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": found["summary"],
        "description": found.get("description", ""),
        "parameters": [_parameter(one) for one in found["parameters"]],
        "body": [_content(kind, content) for kind, content in body.items()],
        "answers": answers,
    }


def _content(kind: str, content: Mapping[str, Any]) -> tuple[str, Markup]:
    return kind, type_of(content["schema"])


def _parameter(found: Mapping[str, Any]) -> Field:
    return Field(
        name=found["name"],
        type=type_of(found["schema"]),
        meaning=found.get("description", ""),
        required=found.get("required", False),
        deprecated=found.get("deprecated", False),
    )


def _model(schema: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    fields = [
        Field(
            name=name,
            type=type_of(one),
            meaning=one.get("description", ""),
            required=name in required,
            deprecated=one.get("deprecated", False),
        )
        for name, one in schema.get("properties", {}).items()
    ]
    return {
        "meaning": schema.get("description", ""),
        "fields": fields,
        "type": None if fields else type_of(schema),
        "examples": [_written(one) for one in schema.get("examples", ())],
    }


def _written(example: object) -> str:
    """An example as JSON."""
    return json.dumps(example, indent=2, ensure_ascii=False)


def type_of(schema: Mapping[str, Any]) -> Markup:
    """The type of a schema in a few words, with links to the models in it."""
    if reference := schema.get("$ref"):
        name = reference.removeprefix(REF)
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if parts := schema.get("anyOf", schema.get("oneOf")):
        return Markup(" or ").join(dict.fromkeys(map(type_of, parts)))
    if values := schema.get("enum"):
        return Markup(", ").join(Markup("<code>{}</code>").format(value) for value in values)
    if "const" in schema:
        return Markup("<code>{}</code>").format(schema["const"])
    kind = schema.get("type", "anything")
    if kind == "array":
        if parts := schema.get("prefixItems"):
            return Markup("[{}]").format(Markup(", ").join(map(type_of, parts)))
        return Markup("list of {}").format(type_of(schema.get("items", {})))
    inner = schema.get("additionalProperties")
    if kind == "object" and isinstance(inner, Mapping):
        return Markup("object of {}").format(type_of(inner))
    return Markup("{}{}").format(escape(kind), _limits(schema))


def _limits(schema: Mapping[str, Any]) -> str:
    """The limits of a number or a text, and its default."""
    low, high = schema.get("minimum"), schema.get("maximum")
    found = f" from {low:,} to {high:,}" if None not in (low, high) else ""
    if (longest := schema.get("maxLength")) is not None:
        found += f" of at most {longest:,} characters"
    return found
