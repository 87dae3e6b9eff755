"""A worker stores a head's whole matrices with the example that they were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headwise
from db.database import Database
from db.reads import jobs as job_reads
from db.reads import results
from db.results.matrices import Asked, read_matrix
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.matrices import HeadOnExample, compute
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.working import rows, run, submitted

EXAMPLES = 4


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture
def database(settings: Settings) -> Database:
    return sqlite_database(settings.home / "headwise.sqlite")


def place(database: Database, job: int, example: int, site: int, head: int) -> HeadOnExample:
    sites = results.list_sites(database, job)
    opened = job_reads.get_job(database, job)
    found = results.get_example(database, job, example)
    return HeadOnExample(job=opened, example=found, site=sites[site], head=head)


def ask(settings: Settings, database: Database, where: HeadOnExample) -> int:
    """Submit and plan the job that computes a matrix."""
    found, _ = compute(where, settings, database)
    Scheduler(settings, database, object()).plan()  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("target", ["predicted", "gold"])
def test_they_are_those_of_the_library_and_sum_to_the_score_of_the_job(
    settings: Settings, database: Database, target: str
) -> None:
    """The same job once more: same text, model, target and tolerance."""
    job = submitted(settings, database, target=target, rtol=1e-2)
    run(settings, database, 1000.0)
    where = place(database, job, 2, 1, 3)
    quick = ask(settings, database, where)
    waiting = read_matrix(database, where.asked)
    assert waiting is not None
    assert (waiting.computed_by, waiting.attention) == (quick, None)
    run(settings, database, 1000.0)
    loaded = headwise.load(str(settings.home / "model"))
    example = results.get_example(database, job, 2)
    want = headwise.attribute(
        loaded.model,
        loaded.tokenizer,
        [(example.text_a or "", example.text_b or "")],
        heads=[f"L1 H{head}" for head in range(where.site.heads)],
        target=target,
        gold=[example.gold or 0],
        rtol=1e-2,
    )
    scores = {(row["site"], row["head"]): row for row in results.example_scores(database, job, 2)}
    # The whole layer comes with the head that was asked for.
    for head in range(where.site.heads):
        asked = Asked(job_id=job, example=2, site=1, head=head)
        found = read_matrix(database, asked)
        assert found is not None
        assert found.attention is not None
        assert found.attribution is not None
        attention, attribution = want.head_matrices(0, 1, head)
        np.testing.assert_allclose(found.attention, attention, atol=1e-6)
        np.testing.assert_allclose(found.attribution, attribution, atol=1e-6)
        stored = scores[1, head]
        assert found.attribution.max() == pytest.approx(stored["score"], abs=1e-6)
        assert found.attribution.sum() == pytest.approx(stored["total"], abs=1e-5)
        assert found.attention.max() == pytest.approx(stored["attention_max"], abs=1e-6)
    spec = job_reads.get_job(database, quick)
    assert (spec.spec["target"], spec.spec["rtol"], spec.quick) == (target, 1e-2, True)
    # The copy of the text is gone with the run.
    assert rows(database, f"SELECT text_a FROM example WHERE job_id = {quick}") == [(None,)]
    assert compute(where, settings, database) == (quick, False)


def test_another_model_in_the_folder_stores_nothing(settings: Settings, database: Database) -> None:
    job = submitted(settings, database)
    run(settings, database, 1000.0)
    quick = ask(settings, database, place(database, job, 0, 0, 0))
    bert_folder(settings.home / "model", initializer_range=0.5)
    run(settings, database, 1000.0)
    failed = job_reads.get_job(database, quick)
    assert failed.state.value == "failed"
    assert "the model's files changed" in (failed.error or "")
    found = read_matrix(database, Asked(job_id=job, example=0, site=0, head=0))
    assert found is not None
    assert found.attention is None
