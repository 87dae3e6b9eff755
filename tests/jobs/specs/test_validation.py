"""No sentence of the validation library reaches a user, whatever the type of the error."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import PydanticKnownError

from jobs.errors import InputError, as_written, nearest
from jobs.specs.base import Frozen, read_strictly
from jobs.specs.submission import parse_submission
from jobs.specs.validation import MOST_SUGGESTED, problems
from tests.helpers.raw_sentences import ERRORS, raw_sentence

NOTHING_RAISED = ("value_error", "assertion_error")
"""Their texts are those of our own validators."""


@pytest.mark.parametrize("kind", sorted(set(ERRORS) - set(NOTHING_RAISED)))
def test_no_type_of_error_is_told_in_the_words_of_the_library(kind: str) -> None:
    facts = ERRORS[kind]["example_context"]

    class Raising(BaseModel):
        value: Any = Field(description="What it is for.")

        @field_validator("value")
        @classmethod
        def _raise(cls, value: object) -> object:
            raise PydanticKnownError(kind, facts)  # type: ignore[arg-type]

    with pytest.raises(ValidationError) as caught:
        Raising(value="given")
    (found,) = problems(caught.value, Raising)
    assert found.field == "value"
    assert not raw_sentence().fullmatch(found.message), found.message
    assert "{" not in found.message


class Limits(Frozen):
    """One field of every sort."""

    rows: int = Field(default=1, ge=1, le=10_000_000, description="Most rows.")
    share: float = Field(default=0.5, gt=0, lt=1, description="A share.")
    name: str = Field(default="x", min_length=1, max_length=3, description="Its name.")
    words: tuple[str, ...] = Field(default=("a",), min_length=1, max_length=2, description="Two.")
    on: bool = Field(default=False, description="A switch.")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"rows": 0}, "rows: must be at least 1 (given: 0). Most rows."),
        ({"rows": 10**30}, f"rows: must be at most 10,000,000 (given: {10**30}). Most rows."),
        ({"rows": "x"}, "rows: must be a whole number (given: 'x'). Most rows."),
        ({"rows": None}, "rows: must be a whole number. Most rows."),
        ({"share": 0}, "share: must be more than 0 (given: 0). A share."),
        ({"share": 1}, "share: must be less than 1 (given: 1). A share."),
        ({"share": True}, "share: must be a number (given: true). A share."),
        ({"name": ""}, "name: must not be empty (given: ''). Its name."),
        ({"name": "four"}, "name: takes at most 3 characters (given: 'four'). Its name."),
        ({"words": []}, "words: must not be empty (given: []). Two."),
        ({"words": [1, "a"]}, "words.0: must be text (given: 1). Two."),
        ({"words": ["a", "b", "c"]}, 'takes at most 2 entries (given: ["a", "b", "c"]). Two.'),
        ({"words": "a"}, "words: must be a list (given: 'a'). Two."),
        ({"on": "yes"}, "on: must be true or false (given: 'yes'). A switch."),
        ({"row": 3}, "row: unknown key (given: 3). Did you mean 'rows'?"),
    ],
)
def test_a_problem_names_field_value_and_remedy(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read_strictly(Limits, raw)
    (found,) = problems(caught.value, Limits)
    assert told in str(found)


def test_a_list_whose_entries_are_refused_is_not_called_empty_as_well() -> None:
    with pytest.raises(ValidationError) as caught:
        read_strictly(Limits, {"words": [1]})
    assert [one.field for one in problems(caught.value, Limits)] == ["words.0"]


@pytest.mark.parametrize("deadline", [[], {}, True, "soon"])
def test_a_deadline_is_refused_once(deadline: object) -> None:
    spec = {"model": {"name": "/m"}, "data": {"path": "a.csv", "text_columns": ["a"]}}
    with pytest.raises(InputError) as caught:
        parse_submission({"spec": spec, "deadline": deadline})
    (found,) = caught.value.problems
    assert found.field == "deadline"
    assert found.message == "is neither a number of seconds nor a time"


def test_values_are_shown_as_their_user_wrote_them() -> None:
    shown = [as_written(value) for value in ("a", True, None, [1, "ä"], {"a": None}, 0.5)]
    assert shown == ["a", "true", "null", '[1, "ä"]', '{"a": null}', "0.5"]


def test_the_nearest_key_is_looked_for_of_a_few_unknown_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A body of a megabyte has 100,000 keys, or one of a million letters."""
    compared: list[str] = []

    def note(name: str, known: Any, **_: Any) -> list[str]:
        compared.append(name)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", note)
    raw = {f"k{number}": 1 for number in range(3 * MOST_SUGGESTED)}
    with pytest.raises(InputError) as caught:
        parse_submission({"spec": raw})
    unknown = [one for one in caught.value.problems if one.message == "unknown key"]
    assert [one.field for one in unknown] == list(raw)
    assert len(compared) == MOST_SUGGESTED
    assert unknown[0].remedy.startswith("Known: ")
    assert unknown[-1].remedy == "Leave it out."
    assert nearest("k" * 1_000_000, ["kind", "name"]) == "Known: kind, name."
    assert len(compared) == MOST_SUGGESTED
