"""Quick jobs: their text is stored as their example and nowhere else, and goes with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from db import schema
from db.database import Database
from db.ops import deletion, retention
from db.queue import claims, lifecycle
from db.reads import attack as attack_reads
from db.reads import job_list
from db.reads import jobs as job_reads
from db.reads.job_list import JobFilter
from db.reads.jobs import Job
from db.results import commit
from jobs.errors import InputError
from jobs.outcome import Completed
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.serializers import job_title
from scheduler.submission.control import control
from scheduler.submission.quick_jobs import (
    attack_text,
    explain_text,
    rows_again,
    texts_again,
)
from scheduler.submission.recurring import add
from scheduler.submission.study import check_study, restart_study, submit_study
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import model_folder, raw_submission, refused
from tests.helpers.jobs import ALICE, result_of

SECRET = "Quetzalcoatl"
TEXT = f"The {SECRET} returned at dawn."


@pytest.fixture
def model(settings: Settings) -> str:
    return str(model_folder(settings.home / "model"))


def submitted(raw: dict[str, Any], settings: Settings, database: Database) -> Job:
    return job_reads.get_job(database, submit(check(raw, settings, database), database))


def run(job: Job, settings: Settings, database: Database, app: Any) -> None:
    """Compute the only example of a job; the words of its text come back as tokens."""
    scheduler = Scheduler(settings, database, app)
    scheduler.tick()
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert held.job_id == job.id
    result = result_of(held.lo, held.hi)
    tokens = tuple(f"[CLS] {TEXT} [SEP]".split())
    examples = tuple(replace(example, tokens=tokens) for example in result.examples)
    done = Completed(parts=(replace(result, examples=examples),), seconds=0.5)
    assert commit.commit_shard(database, held, done, "model")
    scheduler.tick()
    assert job_reads.get_job(database, job.id).state.value == "succeeded"


def places_with(secret: str, settings: Settings, database: Database) -> list[str]:
    """The tables and the files of the data folder that hold the secret, in any case."""
    found = []
    with database.read() as tx:
        for table in schema.metadata.sorted_tables:
            rows = tx.execute(select(table)).all()
            found += [table.name] * any(secret.lower() in str(row).lower() for row in rows)
    for path in settings.home.rglob("*"):
        if path.is_file() and secret.lower().encode() in path.read_bytes().lower():
            found.append(path.name)
    return found


@pytest.mark.parametrize("end", ["purge", "delete", "keep no text"])
def test_the_text_goes_with_its_example(
    database: Database, settings: Settings, model: str, app: Any, end: str
) -> None:
    raw = explain_text(model, (TEXT, ""), "predicted")
    raw["spec"]["keep_text"] = end != "keep no text"
    job = submitted(raw, settings, database)
    assert places_with(SECRET, settings, database) == ["example"]
    run(job, settings, database, app)
    if end == "keep no text":
        assert places_with(SECRET, settings, database) == []
        return
    stored = ["edge", "example", "example_result"]
    assert sorted(places_with(SECRET, settings, database)) == stored
    control(database, job.id, end)
    retention.remove_details(database, seconds=60)
    deletion.empty_jobs(database, seconds=60)
    assert places_with(SECRET, settings, database) == []


def test_what_a_job_is_called_by_comes_from_its_example(
    database: Database, settings: Settings, model: str, app: Any
) -> None:
    job = submitted(explain_text(model, (TEXT, ""), ""), settings, database)
    assert (job.name, job.excerpt, job_title(job)) == ("", TEXT, TEXT)
    attack = submitted(attack_text(model, (TEXT, "No."), ("rain", "old snow")), settings, database)
    assert (attack.name, job_title(attack)) == ("rain | old snow", f"rain | old snow: {TEXT}")
    long = submitted(explain_text(model, ("word " * 100, ""), ""), settings, database)
    assert len(long.excerpt or "") == 80
    found = job_list.list_jobs(database, JobFilter(contains=SECRET.upper()))
    assert [one.id for one in found] == [attack.id, job.id]
    assert len(job_list.list_jobs(database, JobFilter(contains=SECRET))) == 2
    control(database, attack.id, "cancel")
    run(job, settings, database, app)
    control(database, job.id, "purge")
    retention.remove_details(database, seconds=60)
    purged = job_reads.get_job(database, job.id)
    assert (purged.excerpt, job_title(purged)) == (None, "model on a text")
    assert job.id not in [
        one.id for one in job_list.list_jobs(database, JobFilter(contains=SECRET))
    ]


def test_the_specification_says_inline_and_equal_texts_are_one_job(
    database: Database, settings: Settings, model: str, app: Any
) -> None:
    raw = explain_text(model, ("One.\r\nTwo.", "A pair."), "yes")
    job = submitted(raw, settings, database)
    assert job.spec["data"]["inline"] is True
    assert job.spec["data"]["path"] is None
    assert job.spec["data"]["text_columns"] == ["text", "second"]
    assert (job.priority, job.examples, job.spec["target"]) == (100, 1, "yes")
    assert texts_again(database, job) == ("One.\nTwo.", "A pair.")
    assert submitted(raw, settings, database).id == job.id
    other = submitted(explain_text(model, ("One.", ""), "yes"), settings, database)
    assert other.id != job.id
    assert other.spec_hash != job.spec_hash  # one text column, not two
    same = submitted(explain_text(model, ("Three.", ""), "yes"), settings, database)
    assert same.spec_hash == other.spec_hash
    assert same.data_fingerprint != other.data_fingerprint
    control(database, other.id, "cancel")
    control(database, same.id, "cancel")
    run(job, settings, database, app)
    assert check(raw, settings, database).same_as == job.id
    again = submitted({**raw, "again": True}, settings, database)
    assert again.id not in (job.id, other.id, same.id)


def test_rows_of_a_submission_are_checked_as_those_of_a_file(
    database: Database, settings: Settings
) -> None:
    raw = raw_submission(settings.home, data={"path": None, "inline": True})
    rows = [
        {"premise": "a", "hypothesis": "b", "label": "yes"},
        {"premise": "c", "hypothesis": "d", "label": None},
    ]
    job = submitted({**raw, "rows": rows}, settings, database)
    assert rows_again(database, job) == rows
    assert not job.quick
    assert job_title(job) == "a"

    def problem(rows: Any, *words: str) -> None:
        refused(lambda: check({**raw, "rows": rows}, settings, database), *words)

    problem(None, "rows: has no rows")
    problem([], "rows: must not be empty")
    problem([{"premise": "a"}], "row 1 has no such column", "hypothesis")
    problem([rows[0], {**rows[0], "premise": " "}], "row 2: the text is empty")
    problem([{**rows[0], "premise": 7}], "row 1", "is not text")
    problem([{**rows[0], "label": "perhaps"}], "row 1 has a label that the model does not know")
    problem("a", "rows: ")
    file = raw_submission(settings.home)
    refused(lambda: check({**file, "rows": rows}, settings, database), "rows: are given")
    both = raw_submission(settings.home, data={"inline": True})
    refused(lambda: check(both, settings, database), "needs exactly one of data.path")
    part = raw_submission(settings.home, data={"path": None, "inline": True, "limit": 1})
    refused(
        lambda: check({**part, "rows": rows}, settings, database), "do not apply to data.inline"
    )


def test_texts_that_are_gone_must_be_given_again(
    database: Database, settings: Settings, model: str, app: Any
) -> None:
    raw = explain_text(model, (TEXT, ""), "")
    raw["spec"]["keep_text"] = False
    job = submitted(raw, settings, database)
    assert job.quick
    run(job, settings, database, app)
    assert texts_again(database, job) == ("", "")
    with pytest.raises(InputError, match=rf"rows: are gone: the texts of job {job.id}"):
        rows_again(database, job)


def test_a_text_is_not_repeated_and_no_study(
    database: Database, settings: Settings, model: str
) -> None:
    raw = explain_text(model, (TEXT, ""), "")
    repeated = {"cron": "0 0 * * *", "submission": raw}
    refused(lambda: add(repeated, settings, database), "submission.rows")
    data = {"inline": True, "text_columns": ["text"], "label_column": "label"}
    study = {"name": "s", "spec": {"model": {"name": model}, "data": data}}
    refused(lambda: check_study(study, settings, database), "a study needs data.path")
    assert places_with(SECRET, settings, database) == []


def test_a_study_of_texts_starts_again_with_them(
    database: Database, settings: Settings, model: str
) -> None:
    raw = {"name": "two", "jobs": {"a": explain_text(model, (TEXT, "$a"), "")}}
    study = submit_study(check_study(raw, settings, database), database)
    control(database, study.jobs["a"], "cancel")
    lifecycle.sweep_jobs(database)
    restarted = restart_study(study.study, settings, database)
    job = job_reads.get_job(database, restarted.jobs["a"])
    assert texts_again(database, job) == (TEXT, "$a")


def test_positions_of_words_are_stored_and_evenly_spread_without(
    database: Database, settings: Settings, model: str, app: Any
) -> None:
    texts, words = ("one two three", "four five"), ("late early", "last")
    for positions, found in (
        ((), [("late", 1 / 3), ("early", 2 / 3), ("last", 1 / 2)]),
        ((" ", ""), [("late", 1 / 3), ("early", 2 / 3), ("last", 1 / 2)]),
        (("1, 0", ".5"), [("early", 0), ("late", 1), ("last", 0.5)]),
    ):
        job = submitted(attack_text(model, texts, words, positions), settings, database)
        Scheduler(settings, database, app).plan()
        (trigger,) = attack_reads.list_triggers(database, job.id)
        assert [(token.word, token.position) for token in trigger.tokens] == found


@pytest.mark.parametrize(
    ("positions", "field"),
    [
        (("0.5", ""), "positions"),
        (("0 x", "1"), "positions"),
        (("0 1.5", "1"), "positions"),
        (("0 nan", "1"), "positions"),
        (("0 1", "1 1"), "second_positions"),
        (("", "1"), "positions"),
    ],
)
def test_positions_are_one_number_for_each_word(positions: tuple[str, ...], field: str) -> None:
    call = lambda: attack_text("m", ("a", "b"), ("c d", "e"), positions)  # noqa: E731
    assert refused(call, "must be one number from 0 to 1 for each of").field == field


@pytest.mark.parametrize("texts", [("", ""), (" \r\n", "pair")])
def test_a_quick_job_needs_a_text(texts: tuple[str, str]) -> None:
    refused(lambda: explain_text("m", texts, ""), "text: is empty")
    refused(lambda: attack_text("m", texts, ("rain",)), "text: is empty")
