"""Every answer of the API in the whole suite, held against the OpenAPI document."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs
from flask import Flask, Response, current_app, request

from tests.helpers.violations import violations
from webui.contract.document import document, path_of
from webui.contract.problems import MEDIA_TYPE


def watch(app: Flask) -> None:
    """Hold every answer of an application against its document."""
    # Functions after a request run in reverse order: this one sees what is sent, but for the
    # first one's compression.
    app.after_request_funcs.setdefault(None, []).insert(1, _note)


def undescribed(
    described: dict[str, Any], path: str | None, method: str, answer: Response
) -> str | None:
    """The reason the document does not describe an answer to a request; None if it does.

    path: as in the document; None for an address that it does not have
    """
    place = f"{method} {path or request.path}: {answer.status_code}"
    content_type = answer.mimetype if answer.headers.get("Content-Type") else None
    if path is None or method.lower() not in described["paths"].get(path, {}):
        if answer.status_code < 400:
            return f"{place}: the document has no such operation"
        own = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}}
    else:
        responses = described["paths"][path][method.lower()]["responses"]
        own = responses.get(str(answer.status_code))
        if own is None:
            return f"{place}: no such status in the document"
        if "$ref" in own:
            own = described["components"]["responses"][own["$ref"].rsplit("/", 1)[1]]
    for header in own.get("headers", {}):
        if header in ("Retry-After", "ETag") and header not in answer.headers:
            return f"{place}: without the header {header}"
    if not own.get("content"):
        return f"{place}: has a body" if answer.get_data() else None
    if content_type not in own["content"]:
        return f"{place}: is {content_type}, and not {', '.join(own['content'])}"
    if not content_type.endswith("json") or request.method == "HEAD":
        return None
    schema = own["content"][content_type]["schema"]
    return _misfit(place, schema, described, answer.get_data())


def _misfit(place: str, schema: Any, described: Any, body: bytes) -> str | None:
    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        value = json.loads(body, parse_constant=no_constant)
        _validator(json.dumps(schema), id(described)).validate(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return f"{place}: {str(error)[:600]}"
    return None


def _note(response: Response) -> Response:
    if request.path.startswith("/api/") and request.method != "OPTIONS":
        described = _document(frozenset(rule.rule for rule in current_app.url_map.iter_rules()))
        rule = request.url_rule
        if rule and current_app.view_functions[rule.endpoint].__module__.startswith("tests"):
            return response  # a view that a test has put in place of ours
        path = path_of(rule.rule) if rule and request.routing_exception is None else None
        method = "GET" if request.method == "HEAD" else request.method
        if not response.is_streamed and (found := undescribed(described, path, method, response)):
            violations.append(found)
    return response


_documents: dict[int, Any] = {}


@cache
def _document(_rules: frozenset[str]) -> dict[str, Any]:
    found = document(current_app)
    _documents[id(found)] = found
    return found


@cache
def _validator(schema: str, described: int) -> Any:
    components = _documents[described]["components"]
    whole = {**json.loads(schema), "components": components}
    return jsonschema_rs.validator_for(whole, validate_formats=False)
