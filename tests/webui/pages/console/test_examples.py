"""The queries that the console offers: each answers with rows, on both databases."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from db.console.console import Console
from db.database import Database
from headwise.figures import propose
from jobs.settings import load_settings
from tests.db.console.conftest import settings_of
from tests.helpers.attack_jobs import attack_spec, finished_attack
from tests.helpers.attack_jobs import source_job as mined_job
from tests.helpers.pruning_jobs import plan, run, submitted
from webui.console.charts import table_of
from webui.console.examples import EXAMPLES


@pytest.fixture
def filled(database: Database, seeding: SimpleNamespace, tmp_path: Path) -> Database:
    """A database with finished jobs of every kind."""
    settings = load_settings({}, home=tmp_path, database_url=database.url)
    submitted(database, settings, steps=4, within_layer=[1], within=5)
    plan(database, settings)
    run(database)
    finished_attack(database, attack_spec(mined_job(database)))
    seeding.seed_job(database)
    return database


def test_every_example_has_rows(
    filled: Database, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    console = Console(settings_of(filled, tmp_path))
    for example in EXAMPLES:
        with subtests.test(example.title):
            result = console.run(example.sql)
            assert result.rows
            assert not result.truncated
            assert example.chart in ("", *propose(table_of(result)))


def test_examples_answer_twenty_questions_in_one_sentence_each() -> None:
    assert len(EXAMPLES) == 20
    assert len({example.title for example in EXAMPLES}) == 20
    for example in EXAMPLES:
        assert example.question.endswith("?")
        assert example.about.endswith(".")
        assert example.about.count(". ") == 0
