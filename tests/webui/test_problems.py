"""No model that something a user writes is read with answers in the words of its library."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

import webui.api
from jobs.kinds import SPECS
from jobs.notifications import NewRecipient
from jobs.scheduling.recurring import Recurring
from jobs.settings import Settings
from jobs.specs.base import inner_model, read_strictly
from jobs.specs.submission import Changes, Submission
from jobs.specs.validation import NOT_ACCEPTED, message_of, problems
from jobs.study import StudySpec
from tests.helpers.raw_sentences import raw_sentence
from webui.contract.models import RawBody
from webui.contract.operations import OPERATIONS

BAD: tuple[Any, ...] = (
    *(None, True, -1, 3, 10**30, -0.5, 0.5, 7.5, float("nan"), float("inf")),
    *("", " ", "x", "-1", "9" * 5000, "x" * 5000, "\0", "2026-01-01", "\ud800"),
    *([], [1], [None], ["x"] * 2000, [""], [[]], [[[1]]], [{}], {}, {"a": 1}, {"": None}),
)
"""Values that some field refuses."""


def asked() -> set[type[BaseModel]]:
    """The models that operations of the API read bodies and query strings with."""
    for info in pkgutil.iter_modules(webui.api.__path__):
        importlib.import_module(f"webui.api.{info.name}")
    found = set()
    for view in OPERATIONS:
        hints = get_type_hints(inspect.unwrap(view))
        found |= {hints[name] for name in ("query", "json") if name in hints}
    return {one for one in found if not issubclass(one, RawBody)}


def models() -> list[type[BaseModel]]:
    """Every model that something a user writes is read with."""
    ours = {Submission, Changes, StudySpec, Recurring, NewRecipient, Settings, *SPECS.values()}
    return sorted(asked() | ours, key=lambda model: f"{model.__module__}.{model.__name__}")


def places(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The fields of a model and of those within it, and a key that it does not have."""
    yield ("unheard",)
    for name, info in model.model_fields.items():
        yield (name,)
        if inner := inner_model(info.annotation):
            yield from ((name, *rest) for rest in places(inner))


def refusals(model: type[BaseModel]) -> Iterator[ValidationError]:
    for place in places(model):
        for value in BAD:
            raw = value
            for name in reversed(place):
                raw = {name: raw}
            for read in (read_strictly, lambda model, raw: model.model_validate(raw)):
                try:
                    read(model, raw)
                except ValidationError as error:
                    yield error
                except UnicodeEncodeError:  # no JSON has such text
                    pass


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_no_model_answers_in_the_words_of_the_library(model: type[BaseModel]) -> None:
    kinds = set()
    for error in refusals(model):
        for item in error.errors():
            kinds.add(item["type"])
            message = message_of(item)
            assert message != NOT_ACCEPTED, item
            assert not raw_sentence().fullmatch(message), item
        for one in problems(error, model):
            assert "Value error" not in one.message
            assert "function" not in one.field, one.field
    assert kinds


def test_the_models_of_the_api_are_among_them() -> None:
    assert len(asked()) > 20
