"""Values that texts of forms and of the command line stand for, and JSON that is read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from jobs.errors import InputError
from jobs.kinds import SPECS
from jobs.kinds.pruning import PruningSpec
from jobs.notifications import parse_recipient
from jobs.scheduling.recurring import parse_recurring
from jobs.specs.fields import fields_of, from_text
from jobs.specs.submission import Submission, parse_changes, parse_submission
from jobs.study import parse_study

SPEC: dict[str, Any] = {
    "model": {"name": "/models/bert"},
    "data": {"path": "pairs.jsonl", "text_columns": ["text"], "label_column": "label"},
}
PRUNING = {"kind": "pruning", "sources": [{"job": 1}]}
WRONG: dict[type, tuple[object, ...]] = {
    bool: ("true", "false", "on", "", 1, 0, None, [True]),
    int: ("5", " 5 ", "", True, False, 5.5, [5], {}),
    float: ("5", "1e-3", "", True, False, [0.5], {}),
    str: (5, 5.5, True, ["a"], {}),
}
"""Values of JSON that are no value of a type, though they look like one."""


def _with(raw: Mapping[str, Any], name: str, value: object) -> dict[str, Any]:
    """A copy of a raw model with the value of a dotted field."""
    first, _, rest = name.partition(".")
    return {**raw, first: _with(raw.get(first, {}), rest, value) if rest else value}


def _wrong(model: type[BaseModel]) -> list[tuple[str, object]]:
    """Every field that holds a number, a text, or yes and no, with each wrong value."""
    return [
        (name, value)
        for name, field in fields_of(model).items()
        if len(field.types) == 1 and not name.startswith(("spec.", "rule.", "controls."))
        for value in WRONG.get(field.types[0], ())
    ]


def _refused(parse: Any, raw: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(raw)
    assert field in [problem.field for problem in caught.value.problems]


@pytest.mark.parametrize("kind", SPECS)
def test_no_field_of_a_specification_takes_a_value_of_another_type(kind: str) -> None:
    base = {**SPEC, **(PRUNING if kind == "pruning" else {}), "kind": kind}
    if kind == "attack":
        base |= {"triggers_from": 1}
    wrong = [pair for pair in _wrong(SPECS[kind]) if pair[1] is not None]
    assert len(wrong) > 60
    for name, value in wrong:
        _refused(parse_submission, {"spec": _with(base, name, value)}, name)


def test_no_field_of_a_submission_takes_a_value_of_another_type() -> None:
    for name, value in _wrong(Submission):
        if name != "user" and value is not None:
            _refused(parse_submission, _with({"spec": SPEC}, name, value), name)


@pytest.mark.parametrize(
    ("parse", "raw", "field", "values"),
    [
        (parse_changes, {}, "priority", WRONG[int]),
        (parse_changes, {}, "keep_days", WRONG[float]),
        (parse_study, SPEC, "steps", WRONG[int]),
        (parse_study, SPEC, "rtol", WRONG[float]),
        (parse_study, SPEC, "parts", ("taylor", "taylor,pruning", {"taylor": 1})),
        (parse_recurring, {"submission": {"spec": SPEC}}, "cron", WRONG[str]),
        (parse_recurring, {"cron": "0 0 * * *"}, "submission", ("{}", [], 1)),
        (parse_recipient, {"name": "a", "address": "a@b.c"}, "conditions", WRONG[bool]),
        (parse_recipient, {"address": "a@b.c"}, "name", WRONG[str]),
        (parse_submission, {"spec": SPEC}, "notify", ("a", "a,b", 1)),
        (parse_submission, {"spec": SPEC}, "again", WRONG[bool]),
        (parse_submission, {"spec": SPEC}, "deadline", ("3600", "", True, [], "soon")),
        (parse_submission, {}, "spec", ("{}", [], 1, None)),
    ],
)
def test_json_is_read_strictly(
    parse: Any, raw: dict[str, Any], field: str, values: tuple[object, ...]
) -> None:
    for value in values:
        with pytest.raises(InputError) as caught:
            parse({**raw, field: value})
        assert any(field in problem.field for problem in caught.value.problems), value


@pytest.mark.parametrize(
    ("field", "value"),
    [("shares", "0.1,0.2"), ("layers", ["1"]), ("layers", "1"), ("directions", "least")],
)
def test_lists_are_lists_of_their_type(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        parse_submission({"spec": {**SPEC, **PRUNING, field: value}})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "12", 12),
        ("steps", " 12 ", 12),
        ("steps", "-3", -3),
        ("steps", "12.5", "12.5"),
        ("steps", "many", "many"),
        ("steps", "", ""),
        ("within", "1", 1),
        ("within", "0.5", 0.5),
        ("within", "1e-2", 0.01),
        ("within", "nan", "nan"),
        ("within", "inf", "inf"),
        ("shares", "0.1, 0.5,1", [0.1, 0.5, 1]),
        ("shares", "0.1, x", [0.1, "x"]),
        ("layers", "0,1,,2", [0, 1, 2]),
        ("layers", "", []),
        ("directions", "least, most", ["least", "most"]),
        ("data.text_columns", " premise , hypothesis ", ["premise", "hypothesis"]),
        ("data.label_column", "5", "5"),
        ("data.label_column", "true", "true"),
        ("keep_text", "true", True),
        ("keep_text", "False", False),
        ("keep_text", "5", "5"),
        ("dtype", "float64", "float64"),
    ],
)
def test_the_value_that_a_text_stands_for(name: str, text: str, value: object) -> None:
    found = from_text(fields_of(PruningSpec)[name], text)
    assert found == value
    assert type(found) is type(value)


def test_a_deadline_in_a_form_is_a_number_or_a_time() -> None:
    field = fields_of(Submission)["deadline"]
    assert from_text(field, "3600") == 3600
    assert from_text(field, "2026-11-30T08:00+01:00") == "2026-11-30T08:00+01:00"
