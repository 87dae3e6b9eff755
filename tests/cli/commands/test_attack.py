"""`headwise attack` and `headwise try-attack`."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from sqlalchemy import update

from cli.commands import attack
from db import schema
from db.database import Database
from db.reads import jobs as job_reads
from jobs.kinds.attack import AttackSpec
from jobs.settings import load_settings
from jobs.specs.submission import parse_spec
from scheduler.loop import Scheduler
from tests.cli.conftest import Headwise
from tests.helpers.attack_jobs import commit_shards, source_job
from tests.helpers.inputs import model_folder, raw_submission
from tests.helpers.scheduling import Quiet


@pytest.fixture
def source(home: Path, store: Database) -> int:
    """A finished attribution job on the model and data of the data folder."""
    job = source_job(store)
    spec = parse_spec(raw_submission(home)["spec"]).model_dump(mode="json")
    with store.write() as tx:
        own = update(schema.job).where(schema.job.c.id == job)
        tx.execute(own.values(spec=json.dumps(spec)))
    return job


def test_model_and_data_are_those_of_the_attribution(
    headwise: Headwise, store: Database, source: int, home: Path
) -> None:
    asked = ("attack", "--triggers-from", str(source))
    assert "6 examples in 1 shard" in headwise(*asked, "--check").out
    answer = headwise(*asked, "--per-class", "2", "--limit", "4", "--transfer", str(home / "model"),
                      "--set", "controls.attention=false", "--json")  # fmt: skip
    job = job_reads.get_job(store, answer.json["job"])
    origin = job_reads.get_job(store, source)
    assert job.spec["model"] == origin.spec["model"]
    assert job.spec["data"] == {**origin.spec["data"], "limit": 4}
    assert job.spec["rule"]["per_class"] == 2
    assert job.spec["controls"]["attention"] is False
    assert [model["name"] for model in job.spec["models"]] == [str(home / "model")]
    own = headwise(*asked, "--data", str(home / "pairs.jsonl"), "--text", "premise", "--label",
                   "label", "--json")  # fmt: skip
    assert job_reads.get_job(store, own.json["job"]).spec["data"]["text_columns"] == ["premise"]


@pytest.mark.usefixtures("source")
def test_bad_input_is_one_line(headwise: Headwise) -> None:
    for arguments, words in (
        (("attack", "--triggers-from", "99"), "no job 99"),
        (("attack", "--triggers-from", "1", "--per-class", "0"), "rule.per_class"),
        (("attack", "--triggers-from", "1", "--insertion", "x"), "insertion"),
        (("try-attack", "a text", "--model", "/x"), "words: is empty"),
        (("try-attack", " ", "--words", "b"), "text: is empty"),
        (("try-attack", "a", "--words", "b", "--positions", "0.5 1"), "positions: must be one"),
    ):
        ended = headwise(*arguments)
        assert ended.status == 2
        assert words in ended.err
        assert ended.err.count("\n") == 1


def test_words_are_tried_at_once(
    headwise: Headwise, store: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(load_settings(), store, Quiet())  # type: ignore[arg-type]

    def work(_seconds: float) -> None:
        """Instead of waiting: the work of a scheduler and a worker."""
        with redirect_stdout(io.StringIO()):  # its log
            scheduler.tick()
            spec = parse_spec(job_reads.get_job(store, 1).spec)
            assert isinstance(spec, AttackSpec)
            commit_shards(store, spec)
            scheduler.tick()

    monkeypatch.setattr(attack.time, "sleep", work)
    model_folder(home / "model", id2label={"0": "no", "1": "yes"})
    asked = ("try-attack", "a cat", "a dog", "--words", "ice", "--model", str(home / "model"))
    found = headwise(*asked, "--json").json
    assert found["texts"] == ["a cat", "a dog"]
    assert (found["predicted_before"], found["predicted_after"]) == (0, 1)
    assert found["texts_after"] == ["a cat ice", "a dog"]
    shown = headwise(*asked, "--positions", "0").out
    assert shown.splitlines()[:2] == ["ice a cat", "a dog"]
    assert "after" in shown
