"""Groups of options, and the keys that they set."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from cli.commands.attack import TriggerOptions
from cli.commands.jobs import SpecOptions
from cli.commands.study import NamingOptions, StudyOptions
from cli.options import KeyOptions, QueueOptions, SourceOptions
from db.database import Database
from db.reads import jobs as job_reads
from jobs.kinds import SPECS
from jobs.specs.base import DataSpec, ModelSpec
from jobs.specs.submission import Submission
from jobs.study import StudySpec
from tests.cli.conftest import Headwise

SPEC_KEYS = {f"spec.{key}" for spec in (*SPECS.values(), StudySpec) for key in spec.model_fields}
KNOWN = (
    SPEC_KEYS
    | {f"spec.model.{key}" for key in ModelSpec.model_fields}
    | {f"spec.data.{key}" for key in DataSpec.model_fields}
    | {"spec.rule.per_class", "spec.evaluation.path"}
    | set(Submission.model_fields)
)


@pytest.mark.parametrize(
    "group",
    [SourceOptions, SpecOptions, QueueOptions, TriggerOptions, StudyOptions, NamingOptions],
)
def test_every_option_sets_a_key_that_there_is(group: type[KeyOptions]) -> None:
    given = group(**{field.name: "x" for field in fields(group)})
    assert given.values().keys() <= KNOWN
    assert len(given.values()) == len(fields(group))
    assert set(group.keys) <= {field.name for field in fields(group)}


def test_options_that_are_not_given_set_nothing() -> None:
    assert SourceOptions().values() == {}
    assert QueueOptions(priority=0, again=False).values() == {"priority": 0, "again": False}


def test_paths_are_relative_to_the_current_folder_and_hub_names_stay(
    headwise: Headwise, home: Path, store: Database
) -> None:
    ran = headwise("submit", "--model", "./home/model", "--data", "home/pairs.jsonl",
                   "--text", "premise")  # fmt: skip
    assert ran.status == 0, ran.err
    spec = job_reads.get_job(store, 1).spec
    assert spec["model"]["name"] == str(home / "model")
    assert spec["data"]["path"] == str(home / "pairs.jsonl")
    ran = headwise("submit", "--model", "org/no model", "--data", "x", "--text", "premise")
    assert "model.name" in ran.err
    assert "'org/no model'" in ran.err


def test_help_shows_the_options_of_a_group_under_its_title(headwise: Headwise) -> None:
    shown = headwise("submit", "--help").out
    data, queue = shown.index("Model and data"), shown.index("Queue and retention")
    assert data < shown.index("--dataset") < queue < shown.index("--keep-details-days")
