"""The schemas in the document of the API, and their examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from pydantic import BaseModel

from tests.helpers import contract
from webui.contract.document import EXAMPLES, REF, document
from webui.contract.models import Answer, Query

JSON = "application/json"


@pytest.fixture
def described(app: Flask) -> dict[str, Any]:
    return document(app)


def models(described: dict[str, Any], *, answers: bool) -> set[str]:
    """The models of the bodies that operations answer with, or read."""
    found = set()
    for methods in described["paths"].values():
        for one in methods.values():
            good = [a for code, a in one["responses"].items() if code.startswith("2")]
            for content in good if answers else [one.get("requestBody", {})]:
                schema = content.get("content", {}).get(JSON, {}).get("schema", {})
                if "$ref" in schema:
                    found.add(schema["$ref"].removeprefix(REF))
    return found


def test_no_two_types_share_a_name(app: Flask) -> None:
    """They would share a schema, too, and one of them would be described wrongly."""
    found: dict[str, Any] = {}
    for model in [*app_models(Answer), *app_models(Query)]:
        for name, schema in model.model_json_schema(mode="serialization").get("$defs", {}).items():
            assert found.setdefault(name, schema) == schema, name


def app_models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models of the API that are made of a base, and those made of them."""
    for model in base.__subclasses__():
        if model.__module__.startswith("webui."):
            yield from (model, *app_models(model))


def test_every_body_and_every_answer_has_an_example(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    wanted = models(described, answers=True) | models(described, answers=False)
    assert {name for name in wanted if not schemas[name].get("examples")} == set()
    assert EXAMPLES.keys() <= schemas.keys()


def test_examples_are_what_their_models_allow(described: dict[str, Any]) -> None:
    components = described["components"]
    for name, schema in components["schemas"].items():
        whole = {"$ref": f"{REF}{name}", "components": components}
        for example in schema.get("examples", ()):
            jsonschema_rs.validator_for(whole).validate(example)
            assert "/tmp/" not in json.dumps(example)
        assert "example" not in schema


def test_examples_of_answers_have_every_field(described: dict[str, Any]) -> None:
    for name in models(described, answers=True):
        schema = described["components"]["schemas"][name]
        (example,) = schema["examples"]
        assert example.keys() == schema["properties"].keys(), name


Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, Change] = {
    "no such operation": lambda found: found["paths"].pop("/api/v1/jobs"),
    "no such status": lambda found: _answers(found).pop("200"),
    "is application/json, and not text/csv": lambda found: _answers(found)["200"].update(
        content={"text/csv": {}}
    ),
    "has a body": lambda found: _answers(found)["200"].pop("content"),
    "without the header Retry-After": lambda found: _answers(found)["200"]["headers"].update(
        {"Retry-After": {}}
    ),
    "is not of type": lambda found: found["components"]["schemas"]["JobPage"]["properties"].update(
        total={"type": "string"}
    ),
    '"new" is a required property': lambda found: found["components"]["schemas"]["JobPage"][
        "required"
    ].append("new"),
}
"""Changes of the document, by the fault of a list of jobs that each makes."""


def _answers(found: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = found["paths"]["/api/v1/jobs"]["get"]["responses"]
    return answers


@pytest.mark.parametrize("said", CHANGES)
def test_an_answer_that_is_not_described_is_noticed(
    app: Flask, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Every test holds every answer against the document: see `tests.helpers.contract`."""
    # Its cache knows documents by their addresses, and those of this test go.
    monkeypatch.setattr(contract, "_validator", contract._validator.__wrapped__)
    with app.test_client() as client:
        answer = client.get("/api/v1/jobs")
        for document_of_test, wanted in ((described, None), (deepcopy(described), said)):
            if wanted:
                CHANGES[said](document_of_test)
            place = (document_of_test, "/api/v1/jobs", "GET", answer)
            monkeypatch.setitem(contract._documents, id(document_of_test), document_of_test)
            found = contract.undescribed(*place)
            assert found is None if wanted is None else wanted in str(found)
