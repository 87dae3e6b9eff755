"""The specification of a study, and its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.errors import Problem
from jobs.specs.submission import parse_spec
from jobs.states import JobState
from jobs.study import own_problems, parse_study, restarted, study_state
from tests.helpers.inputs import refused

DATA = {"path": "rows.jsonl", "text_columns": ["text"], "label_column": "label"}


def raw(**changes: Any) -> dict[str, Any]:
    return {"model": {"name": "/m"}, "data": DATA, "examples": 10, **changes}


def test_the_rest_of_the_data_is_evaluated_on() -> None:
    spec = parse_study(raw(data={**DATA, "offset": 5, "limit": 40}, evaluation_examples=20))
    assert (spec.ranked.offset, spec.ranked.limit) == (5, 10)
    assert (spec.held_out.offset, spec.held_out.limit) == (15, 20)
    spec = parse_study(raw(data={**DATA, "limit": 25}))
    assert (spec.held_out.offset, spec.held_out.limit) == (10, 15)
    assert parse_study(raw()).held_out.limit is None


def test_other_data_may_be_evaluated_on() -> None:
    other = {**DATA, "path": "other.jsonl", "limit": 7}
    spec = parse_study(raw(evaluation=other, data={**DATA, "sample": 10}))
    assert (spec.held_out.path, spec.held_out.offset, spec.held_out.limit) == ("other.jsonl", 0, 7)


def test_the_jobs_name_each_other() -> None:
    spec = parse_study(raw())
    jobs = spec.jobs(spec.chosen(2, 4))
    assert list(jobs) == ["attribution", "taylor", "leave-one-out", "pruning", "attack"]
    assert [(one["job"], one["source"]) for one in jobs["pruning"]["sources"]] == [
        ("$attribution", "attattr"),
        ("$attribution", "attention"),
        ("$taylor", "taylor"),
        ("$leave-one-out", "leave-one-out-loss"),
    ]
    assert jobs["attack"]["triggers_from"] == "$attribution"
    for step in ("pruning", "attack"):
        assert jobs[step]["data"]["offset"] == 10


def test_leaving_each_head_out_is_a_part_where_it_is_small_or_asked_for() -> None:
    spec = parse_study(raw(examples=200))
    assert "leave-one-out" in spec.chosen(2, 4)
    assert "leave-one-out" not in spec.chosen(12, 12)
    assert parse_study(raw(parts=["leave-one-out"])).chosen(12, 12) == ("leave-one-out",)
    assert list(spec.jobs(())) == ["attribution"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"data": {**DATA, "label_column": None}}, "data.label_column", "needs data.label_column"),
        ({"data": {**DATA, "limit": 10}}, "data.limit", "leaves no rows to evaluate on"),
        ({"data": {**DATA, "sample": 10}}, "data.sample", "data.sample leaves no rows"),
        ({"examples": 1}, "examples", "at least 2"),
        ({"exmples": 3}, "exmples", "Did you mean 'examples'?"),
        ({"data": {**DATA, "offset": -1}}, "data.offset", "Rows to skip"),
        ({"parts": ["prunning"]}, "parts.0", "'pruning'"),
    ],
)
def test_what_a_study_cannot_be(changes: dict[str, Any], field: str, words: str) -> None:
    problem = refused(lambda: parse_study(raw(**changes)), words)
    assert problem.field == field


def test_problems_of_jobs_are_told_once_and_at_the_studys_field() -> None:
    def problem(field: str, message: str = "m") -> Problem:
        return Problem(field=field, value=1, message=message)

    steps = ("attribution", "taylor", "pruning")
    names = [problem(f"jobs.{step}.model.name") for step in steps]
    rows = [problem("jobs.pruning.data.offset", "selects no rows")]
    found = own_problems(parse_study(raw()), [*names, *rows])
    assert [(one.field, one.value) for one in found] == [("model.name", 1), ("examples", 10)]
    other = parse_study(raw(evaluation=DATA))
    found = own_problems(other, [problem("jobs.pruning.data.path")])
    assert [one.field for one in found] == ["evaluation.path"]


@pytest.mark.parametrize(
    ("jobs", "state"),
    [
        ("queued queued", "queued"),
        ("succeeded queued", "running"),
        ("running queued", "running"),
        ("failed running", "running"),
        ("succeeded failed cancelled", "failed"),
        ("succeeded cancelled", "cancelled"),
        ("succeeded succeeded", "succeeded"),
    ],
)
def test_the_state_of_a_study(jobs: str, state: str) -> None:
    assert study_state([(JobState(one), "run") for one in jobs.split()]) == state


def test_a_study_is_paused_or_cancelling_where_all_that_is_left_is() -> None:
    left = [(JobState.SUCCEEDED, "run"), (JobState.QUEUED, "pause")]
    assert study_state(left) == "paused"
    assert study_state([*left, (JobState.RUNNING, "run")]) == "running"
    for late in (JobState.STOPPING, JobState.FINALIZING):  # its deadline passed
        assert study_state([(late, "pause"), (JobState.SUCCEEDED, "run")]) == "running"
        assert study_state([(late, "pause"), *left]) == "paused"
    assert study_state([(JobState.CANCELLING, "cancel")]) == "cancelling"


def test_a_study_once_more_names_its_own_jobs_anew() -> None:
    sources = [{"job": 7, "source": "attattr"}, {"job": 3, "source": "attention"}]
    base = {"model": {"name": "/m"}, "data": DATA}
    specs = {
        "attribution": parse_spec(base),
        "pruning": parse_spec({**base, "kind": "pruning", "sources": sources}),
        "attack": parse_spec({**base, "kind": "attack", "triggers_from": 7}),
    }
    found = restarted(specs, {"attribution": 7, "pruning": 8, "attack": 9})
    assert [one["job"] for one in found["pruning"]["sources"]] == ["$attribution", 3]
    assert found["attack"]["triggers_from"] == "$attribution"
