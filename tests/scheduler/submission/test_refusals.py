"""Refusals at submission, with field and remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db.database import Database
from db.reads import jobs as job_reads
from jobs.errors import InputError
from jobs.settings import Settings
from scheduler.submission.study import check_study, submit_study
from scheduler.submission.submit import check, submit
from tests.helpers.databases import rows
from tests.helpers.inputs import model_folder, raw_submission, refused


def bad(settings: Settings, database: Database, *words: str, **spec: Any) -> None:
    """The spec is refused with these words and leaves nothing in the database."""
    refused(lambda: check(raw_submission(settings.home, **spec), settings, database), *words)
    assert rows(database, "SELECT COUNT(*) FROM job") == [(0,)]
    assert rows(database, "SELECT COUNT(*) FROM example") == [(0,)]


def test_an_unknown_model_folder(database: Database, settings: Settings) -> None:
    name = str(settings.home / "nothing")
    bad(settings, database, "model.name: no such folder", "nothing", model={"name": name})


def test_a_model_outside_the_allowed_folders(database: Database, settings: Settings) -> None:
    folder = model_folder(settings.home.parent / "elsewhere")
    words = ("model.name: is outside the allowed folders", "HEADWISE_ALLOWED_FOLDERS")
    bad(settings, database, *words, model={"name": str(folder)})


def test_a_model_that_is_no_classifier(database: Database, settings: Settings) -> None:
    model_folder(settings.home / "model", architectures=["BertModel"])
    bad(settings, database, "model.name: is not a sequence classifier", "fine-tuned")


def test_a_missing_text_column(database: Database, settings: Settings) -> None:
    words = ("data.text_columns", "'premis'", "Did you mean 'premise'?")
    bad(settings, database, *words, data={"text_columns": ["premis"]})


def test_an_empty_text(database: Database, settings: Settings) -> None:
    (settings.home / "pairs.jsonl").write_text('{"premise": " ", "hypothesis": "b", "label": 0}')
    bad(settings, database, "data.text_columns: line 1: the text is empty", "'premise'")


def test_a_gold_label_outside_the_models(database: Database, settings: Settings) -> None:
    row = {"premise": "a", "hypothesis": "b", "label": "perhaps"}
    (settings.home / "pairs.jsonl").write_text(json.dumps(row))
    words = ("data.label_column: line 1", "'perhaps'", "0 no, 1 maybe, 2 yes")
    bad(settings, database, *words)


def test_a_target_outside_the_models_labels(database: Database, settings: Settings) -> None:
    words = ("target: is not a label of the model", "'perhaps'", "no, maybe, yes")
    bad(settings, database, *words, target="perhaps")


def test_a_gold_target_without_a_label_column(database: Database, settings: Settings) -> None:
    words = ("target 'gold' needs data.label_column",)
    bad(settings, database, *words, target="gold", data={"label_column": None})


def test_a_gold_target_with_a_row_without_label(database: Database, settings: Settings) -> None:
    lines = [{"premise": "a", "hypothesis": "b", "label": label} for label in ("no", None)]
    (settings.home / "pairs.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    words = ("target: line 2 has no gold label", "'gold'", "Use 'predicted', or label every row")
    bad(settings, database, *words, target="gold")


def test_more_word_pieces_than_the_model_has_positions(
    database: Database, settings: Settings
) -> None:
    words = ("max_length: is more than the model's 64 positions", "given: 65", "Give less")
    bad(settings, database, *words, max_length=65)
    check(raw_submission(settings.home, max_length=64), settings, database)


def test_two_sources(database: Database, settings: Settings) -> None:
    words = ("exactly one of data.path", "data.dataset", "'org/set'")
    bad(settings, database, *words, data={"dataset": "org/set", "split": "test"})


def test_an_unknown_key(database: Database, settings: Settings) -> None:
    words = ("data.limits: unknown key", "given: 3", "Did you mean 'limit'?")
    bad(settings, database, *words, data={"limits": 3})


def test_problems_of_model_and_data_are_reported_together(
    database: Database, settings: Settings
) -> None:
    raw = raw_submission(settings.home, model={"name": "/nowhere"}, data={"path": "none.jsonl"})
    with pytest.raises(InputError) as caught:
        check(raw, settings, database)
    assert [p.field for p in caught.value.problems] == ["model.name", "data.path"]


NUMBER = {"id2label": {"0": "score"}, "num_labels": 1}


NUMBERS = {"problem_type": "regression"}


LABELS = {"problem_type": "multi_label_classification"}


NO_LABELS = {"label_column": None}


GIVEN = {"kind": "attack", "given": [[["text"], ["text"]]], "insertion": "text"}


@pytest.mark.parametrize(
    ("model", "changes", "fields"),
    [
        (NUMBER, {"output": "probability", "data": NO_LABELS}, ["output"]),
        (NUMBER, {}, ["data.label_column"]),
        (NUMBER, {"target": "other", "data": NO_LABELS}, ["target"]),
        (NUMBERS, {"data": NO_LABELS}, ["target"]),
        (NUMBERS, {"target": "gold"}, ["target", "data.label_column"]),
        (NUMBER, {"kind": "importance", "method": "taylor"}, ["model.name"]),
        (NUMBERS, {**GIVEN, "data": NO_LABELS}, ["model.name"]),
        (LABELS, {"kind": "importance", "method": "taylor"}, ["model.name"]),
    ],
    ids=str,
)
def test_outputs_that_are_no_classes_are_said_at_submit(
    settings: Settings,
    database: Database,
    model: dict[str, Any],
    changes: dict[str, Any],
    fields: list[str],
) -> None:
    model_folder(settings.home / "model", **model)
    raw = raw_submission(settings.home, **changes)
    with pytest.raises(InputError) as caught:
        check(raw, settings, database)
    assert [problem.field for problem in caught.value.problems] == fields


@pytest.mark.parametrize(
    ("model", "changes", "output"),
    [
        (NUMBER, {}, "logit"),
        (NUMBER, {"target": "score"}, "logit"),
        (NUMBERS, {"target": "maybe", "output": "logit"}, "logit"),
        (LABELS, {}, "probability"),
        ({}, {}, "probability"),
    ],
    ids=str,
)
def test_the_output_fits_the_model(
    settings: Settings,
    database: Database,
    model: dict[str, Any],
    changes: dict[str, Any],
    output: str,
) -> None:
    model_folder(settings.home / "model", **model)
    raw = raw_submission(settings.home, **changes, data=NO_LABELS)
    job = job_reads.get_job(database, submit(check(raw, settings, database), database))
    assert job.spec["output"] == output
    wanted = {"logit": "numbers", "probability": "labels" if model else "classes"}
    assert job.outputs == wanted[output]
    study = check_study({"jobs": {"one": raw}}, settings, database)
    again = submit_study(study, database).jobs["one"]
    assert job_reads.get_job(database, again).spec == job.spec


def test_an_unknown_problem_type_is_refused(settings: Settings, database: Database) -> None:
    model_folder(settings.home / "model", problem_type="ranking")
    refused(
        lambda: check(raw_submission(settings.home), settings, database),
        "problem_type 'ranking' is unknown",
    )
