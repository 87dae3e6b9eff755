"""The OpenAPI document of the API: what spectree writes from the views, completed and in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask
from pydantic import TypeAdapter

from webui.accounts.cookies import SESSION
from webui.contract.idempotency import REPLAYED
from webui.contract.operations import JSON, OPERATIONS, Operation, api
from webui.contract.problems import KINDS, MEDIA_TYPE, REFERENCE, RETRY_SECONDS, ProblemDetails

EVERY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""Statuses of errors that every operation may answer with."""
WITH_BODY = (HTTPStatus.FORBIDDEN, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
"""Those of every operation that changes something."""
KEYED = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Those of operations with an Idempotency-Key."""
REF = "#/components/schemas/"
EXAMPLES: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
)
"""An example of a body by the name of its model; lists are cut to two items."""

_DESCRIPTION = """\
Everything that the dashboard can do. Times are seconds since 1970 (UTC) by the database's clock.
Lists come in pages: `next` is the address of the next one; in examples they are cut to two items.
See docs/howto/api.md for the ideas.\
"""
_ERROR_EXAMPLE = {
    "type": f"{REFERENCE}#invalid-request",
    "title": "Invalid request",
    "status": 400,
    "detail": "data.path: no such file (given: 'rows.jsonl'). Check the path; it is read on the "
    "server.",
    "problems": [
        {
            "field": "data.path",
            "value": "rows.jsonl",
            "message": "no such file",
            "remedy": "Check the path; it is read on the server.",
        }
    ],
}


def document(app: Flask) -> dict[str, Any]:
    """The document of an application's API, OpenAPI 3.1."""
    with app.app_context():
        written = api.spec
    operations = _by_place(app)
    paths: dict[str, dict[str, Any]] = {}
    for path in sorted(written["paths"]):
        for method, raw in written["paths"][path].items():
            completed = _completed(raw, method, operations[path, method])
            paths.setdefault(path, {})[method] = completed
    schemas = written["components"]["schemas"] | _schemas(ProblemDetails)
    components = {
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A personal token, needed where people sign in.",
            },
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": SESSION,
                "description": "That of a browser that has signed in; behind HTTPS its name begins "
                "with `__Host-`. Changes must come from a page of the dashboard.",
            },
        },
        "schemas": _used(paths, {name: _exemplified(name, one) for name, one in schemas.items()}),
        "responses": {_response(status): _problem(status) for status in KINDS},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headwise",
            "version": version("headwise"),
            "summary": "What every attention head of a transformer contributes to its predictions.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The dashboard's own address."}],
        "tags": sorted(written["tags"], key=lambda tag: str(tag["name"])),
        "security": [{}, {"token": []}, {"session": []}],
        "paths": paths,
        "components": components,
    }


def as_text(app: Flask) -> str:
    """The document as docs/reference/openapi.json has it."""
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


def path_of(rule: str) -> str:
    """The path of a Flask rule as the document writes it."""
    return re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule)


def _by_place(app: Flask) -> dict[tuple[str, str], Operation]:
    """Operations by path and method."""
    return {
        (path_of(rule.rule), method.lower()): OPERATIONS[view]
        for rule in app.url_map.iter_rules()
        if (view := app.view_functions[rule.endpoint]) in OPERATIONS
        for method in rule.methods or ()
    }


def _completed(raw: Mapping[str, Any], method: str, operation: Operation) -> dict[str, Any]:
    """spectree's description of an operation, with headers, types of bodies and errors."""
    found = {key: value for key, value in raw.items() if value not in ("", None)}
    found["responses"] = dict(_answers(raw["responses"], method, operation))
    found["parameters"] = [*map(_described, raw["parameters"]), *_headers(method, operation)]
    if operation.files:
        found["requestBody"] = _multipart(operation.files)
    return found


def _described(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter; what its schema says of the parameter itself stands beside the schema."""
    found: dict[str, Any] = {key: _tidied(value) for key, value in raw.items()}
    found["schema"].pop("description", None)
    if found["schema"].pop("deprecated", False):
        found["deprecated"] = True
    if raw["in"] == "query" and not raw.get("required"):
        found["allowEmptyValue"] = True  # it means the default
    return {key: value for key, value in found.items() if value != ""}


def _answers(
    raw: Mapping[str, Any], method: str, operation: Operation
) -> Iterator[tuple[str, dict[str, Any]]]:
    for code, one in raw.items():
        if int(code) >= HTTPStatus.BAD_REQUEST:
            continue
        content = one.get("content") or {
            kind: {"schema": {"type": ["object", "array"] if kind == JSON else "string"}}
            for kind in operation.media_types
        }
        headers = {}
        if method == "get" and operation.conditional:
            headers["ETag"] = _header("Version of the answer, for `If-None-Match`.")
        if operation.creates:
            headers[REPLAYED] = _header(
                "`true` where this is the kept answer of an earlier request with the same key."
            )
        yield code, {**one, "content": content, **({"headers": headers} if headers else {})}
    if method == "get" and operation.conditional:
        yield "304", {"description": "Nothing has changed since the answer with that `ETag`."}
    errors = {*EVERY, *operation.errors}
    if method != "get":
        errors |= {*WITH_BODY}
    if operation.creates:
        errors |= {*KEYED}
    for status in sorted(errors):
        yield str(status.value), {"$ref": f"#/components/responses/{_response(status)}"}


def _headers(method: str, operation: Operation) -> list[dict[str, Any]]:
    """Headers that an operation understands."""
    if operation.creates:
        meaning = (
            "Any text that is new for each thing to create, such as a UUID. The same key with the "
            "same request answers as the first time, for a day, and creates nothing."
        )
        schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
        return [_parameter("Idempotency-Key", meaning, schema)]
    if method == "get" and operation.conditional:
        meaning = "The `ETag` of an earlier answer: 304 where nothing has changed."
        return [_parameter("If-None-Match", meaning, {"type": "string"})]
    return []


def _parameter(name: str, meaning: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": dict(schema), "description": meaning}


def _header(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "schema": {"type": "string"}}


def _multipart(files: Mapping[str, str]) -> dict[str, Any]:
    fields = {
        name: {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
            "description": meaning,
        }
        for name, meaning in files.items()
    }
    schema = {"type": "object", "properties": fields, "required": list(files)}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _response(status: HTTPStatus) -> str:
    """The name of an error's answer among the components."""
    return "".join(part.capitalize() for part in KINDS[status][0].split("-"))


def _problem(status: HTTPStatus) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"{REF}ProblemDetails"}}
    if status is HTTPStatus.BAD_REQUEST:
        content["examples"] = {"missing file": {"value": _ERROR_EXAMPLE}}
    found = {
        "description": KINDS[status][1][:1].upper() + KINDS[status][1][1:] + ".",
        "content": {MEDIA_TYPE: content},
    }
    if status in RETRY_SECONDS:
        meaning = "Seconds after which to try again."
        schema = {"type": "integer", "minimum": 1}
        found["headers"] = {"Retry-After": {"description": meaning, "schema": schema}}
    return found


def _schemas(model: Any) -> dict[str, Any]:
    """A model and those within it, by name."""
    found = TypeAdapter(model).json_schema(ref_template=REF + "{model}", mode="serialization")
    return {**found.pop("$defs", {}), model.__name__: found}


def _exemplified(name: str, schema: Any) -> dict[str, Any]:
    """A model's schema with its example; that of a submission is in the model."""
    example = {"examples": [EXAMPLES[name]]} if name in EXAMPLES else {}
    return {**_tidied(schema), **example}


def _tidied(value: Any) -> Any:
    """A schema without titles that only repeat a name, and open for fields that come later."""
    if isinstance(value, list):
        return [_tidied(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: {name: _tidied(one) for name, one in part.items()}
        if key in ("properties", "$defs") and isinstance(part, dict)
        else _tidied(part)
        for key, part in value.items()
        if not (key == "title" and isinstance(part, str))
    }
    return kept


def _used(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas that paths refer to, and those that these refer to, by name."""
    waiting = [*_references(paths), "ProblemDetails"]
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schemas[name]
            waiting += _references(schemas[name])
    return dict(sorted(found.items()))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(name := value.get("$ref"), str) and name.startswith(REF):
            yield name.removeprefix(REF)
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)
