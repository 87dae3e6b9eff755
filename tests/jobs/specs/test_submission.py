"""Specs: what is accepted, how each bad field is named, and the hash."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.errors import InputError, Problem
from jobs.kinds.attribution import AttributionSpec
from jobs.specs.submission import canonical_json, parse_spec, parse_submission, spec_hash
from tests.helpers.inputs import refused

GOOD: dict[str, Any] = {
    "model": {"name": "/models/bert"},
    "data": {"path": "pairs.jsonl", "text_columns": ["premise", "hypothesis"]},
}


def with_data(**changes: object) -> dict[str, Any]:
    return {**GOOD, "data": {**GOOD["data"], **changes}}


def test_defaults_are_the_documented_ones() -> None:
    spec = parse_spec(GOOD)
    assert (spec.version, spec.kind, spec.target, spec.output) == (
        1,
        "attribution",
        "predicted",
        "probability",
    )
    assert (spec.integration, spec.rtol, spec.edges, spec.dtype) == ("auto", 1e-3, 16, "float32")
    assert spec.keep_text
    assert spec.data.text_columns == ("premise", "hypothesis")
    assert spec.data.limit is None


def test_a_spec_is_frozen() -> None:
    spec = parse_spec(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        spec.rtol = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit": 0}, ("data.limit", "given: 0", "at least 1", "number of rows")),
        ({"limit": -5}, ("data.limit", "given: -5", "at least 1")),
        ({"limit": 10**30}, ("data.limit", str(10**30), "at most 10,000,000")),
        ({"limit": "many"}, ("data.limit", "given: 'many'", "whole number")),
        ({"offset": -1}, ("data.offset", "given: -1", "Rows to skip")),
        ({"sample": 0}, ("data.sample", "given: 0", "at random")),
        ({"seed": -1}, ("data.seed", "given: -1", "Seed of the sample")),
        ({"text_columns": []}, ("data.text_columns", "given: []", "One text column, or two")),
        ({"text_columns": ["a", "b", "c"]}, ("data.text_columns", '"c"', "at most 2")),
        ({"text_columns": ["a", " "]}, ("data", "data.text_columns has an empty name")),
        ({"dataset": "org/set", "split": "test"}, ("'pairs.jsonl' and 'org/set'", "exactly one")),
        ({"path": None}, ("exactly one of data.path (a file), data.dataset", "got none")),
        ({"path": None, "dataset": "org/set"}, ("needs data.split", "'validation'")),
        ({"path": None, "dataset": "../x", "split": "a"}, ("data.dataset", "given: '../x'")),
        ({"split": "test"}, ("data.split", "belong to a hub dataset")),
    ],
)
def test_bad_data_is_named_with_its_value_and_the_remedy(
    changes: dict[str, object], words: tuple[str, ...]
) -> None:
    refused(lambda: parse_spec(with_data(**changes)), *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rtol": 0}, ("rtol", "given: 0", "at least 1e-06", "relative error")),
        ({"rtol": float("nan")}, ("rtol", "given: NaN", "relative error")),
        ({"rtol": 7}, ("rtol", "given: 7", "at most 0.5")),
        ({"max_points": 1}, ("max_points", "given: 1", "most points")),
        ({"max_length": 2}, ("max_length", "given: 2", "word pieces")),
        ({"edges": -1}, ("edges", "given: -1", "token pairs")),
        ({"output": "loss"}, ("output", "given: 'loss'", "'logit'", "The scalar")),
        ({"integration": "simpson"}, ("integration", "'simpson'", "gauss-legendre:m")),
        ({"integration": "left-riemann:0"}, ("integration", "m from 1 to 1024")),
        ({"integration": "left-riemann:1025"}, ("integration", "m from 1 to 1024")),
        ({"dtype": "int8"}, ("dtype", "given: 'int8'", "'float32'")),
        ({"device": "tpu"}, ("device", "given: 'tpu'", "'auto' leaves it")),
        ({"target": ""}, ("target", "given: ''", "'predicted', 'gold'")),
        ({"target": "gold"}, ("target 'gold'", "needs data.label_column")),
        ({"version": 2}, ("version", "given: 2", "1")),
        ({"model": {"name": ""}}, ("model.name", "Local folder")),
        (
            {"model": {"name": "no good name"}},
            ("model.name", "given: 'no good name'", "start it with '/' or './'"),
        ),
        (
            {"model": {"name": "/models/bert", "revision": "main"}},
            ("model", "a local folder has no revision", "leave model.revision empty"),
        ),
        ({"model": {}}, ("model.name", "is missing", "Local folder")),
        ({"data": None}, ("data", "must be a JSON object")),
    ],
)
def test_bad_fields_are_named_with_their_value_and_the_remedy(
    changes: dict[str, object], words: tuple[str, ...]
) -> None:
    refused(lambda: parse_spec({**GOOD, **changes}), *words)


@pytest.mark.parametrize(
    ("raw", "field", "remedy"),
    [
        ({**GOOD, "rtoll": 0.1}, "rtoll", "Did you mean 'rtol'?"),
        (with_data(text_colums="a"), "data.text_colums", "Did you mean 'text_columns'?"),
        ({**GOOD, "model": {"name": "a", "revison": "x"}}, "model.revison", "'revision'"),
        ({**GOOD, "zzzzzz": 1}, "zzzzzz", "Known: data, device"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(
    raw: dict[str, object], field: str, remedy: str
) -> None:
    problem = refused(lambda: parse_spec(raw), "unknown key", remedy)
    assert problem.field == field


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_spec({**with_data(limit=0), "rtol": 0, "colour": "red"})
    assert {problem.field for problem in caught.value.problems} == {"data.limit", "rtol", "colour"}


@pytest.mark.parametrize("raw", [None, 3, "spec", [], [GOOD]])
def test_only_an_object_is_a_spec(raw: object) -> None:
    refused(lambda: parse_spec(raw), "spec: must be a JSON object", "docs/reference/jobs.md")


def test_fields_of_a_submission_are_named_as_the_user_wrote_them() -> None:
    raw = {"spec": with_data(limit=0), "priority": 200, "queue": "No Queue", "nane": "x"}
    with pytest.raises(InputError) as caught:
        parse_submission(raw)
    assert {p.field for p in caught.value.problems} == {"data.limit", "priority", "queue", "nane"}


@pytest.mark.parametrize("field", ["name", "user", "idempotency_key"])
def test_a_nul_character_is_refused_where_a_database_would_store_it(field: str) -> None:
    problem = refused(lambda: parse_submission({"spec": GOOD, field: "a\0b"}), "NUL", "'a\\x00b'")
    assert problem.field == field


def test_the_hash_of_a_spec_stays() -> None:
    """A new field or default changes every hash: then raise `version`, and this number."""
    spec = parse_spec(GOOD)
    assert spec_hash(spec) == "3c20378358bdfa31f03f23329b588e4a378f5d3360a8bd3d60633ae4d6ba4a78"
    assert spec_hash(spec) != spec_hash(parse_spec({**GOOD, "rtol": 0.002}))


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return value


SPECS = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries({"name": st.sampled_from(["/m", "./m", "org/model"])}),
        "data": st.fixed_dictionaries(
            {
                "path": st.text(min_size=1, max_size=20).filter(str.strip),
                "text_columns": st.lists(
                    st.text(min_size=1, max_size=9).filter(str.strip), min_size=1, max_size=2
                ),
                "label_column": st.text(max_size=9),
                "offset": st.integers(0, 10_000_000),
                "limit": st.none() | st.integers(1, 10_000_000),
            }
        ),
    },
    optional={
        "target": st.sampled_from(["predicted", "gold", "yes"]),
        "integration": st.sampled_from(["auto", "gauss-legendre:8", "left-riemann:20"]),
        "rtol": st.floats(1e-6, 0.5),
        "keep_text": st.booleans(),
    },
)


@settings(max_examples=60, deadline=None)
@given(raw=SPECS, order=st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order_of_keys(
    raw: dict[str, Any], order: random.Random
) -> None:
    first, second = parse_spec(raw), parse_spec(shuffled(raw, order))
    assert canonical_json(first) == canonical_json(second)
    assert spec_hash(first) == spec_hash(second)
    # The stored text is a spec again, and the same one.
    assert parse_spec(json.loads(canonical_json(first))) == first


def accepted_or_refused(parse: Callable[[], object]) -> None:
    """Anything but an InputError with words in it fails the test."""
    problems: tuple[Problem, ...] = ()
    try:
        parse()
    except InputError as error:
        problems = error.problems
    assert all(problem.field and problem.message for problem in problems)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.sampled_from(["auto", "gold", "/m", "org/model", "a,b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(), max_size=8)
            | st.sampled_from([*AttributionSpec.model_fields, "path", "name", "text_columns"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(raw=JSON)
def test_arbitrary_json_is_accepted_or_refused_in_words(raw: object) -> None:
    for parse in (parse_spec, parse_submission):
        accepted_or_refused(lambda parse=parse: parse(raw))  # type: ignore[misc]


@settings(max_examples=100, deadline=None)
@given(spec=SPECS, key=st.sampled_from(["data", "model", None]), field=st.text(), value=JSON)
def test_an_arbitrary_change_of_a_good_spec_is_accepted_or_refused_in_words(
    spec: dict[str, Any], key: str | None, field: str, value: object
) -> None:
    owner = spec if key is None else spec[key]
    owner[field or next(iter(owner))] = value
    accepted_or_refused(lambda: parse_spec(spec))
