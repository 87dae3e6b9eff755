"""Jobs on models whose outputs are no classes: what is stored, and what pages and API show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import headwise
from db.database import Database
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder
from tests.workers.test_blocks import run

PAIR = ("the cat sings", "a dog sleeps")


def pages(home: Path, **config: Any) -> tuple[dict[str, Any], str, str]:
    """An example as the API sends it, its page and that of its job."""
    bert_folder(home / "model", **config)
    settings = Settings(home=home, threads=1, device="cpu")
    database = sqlite_database(home / "headwise.sqlite")
    row = dict(zip(("premise", "hypothesis"), PAIR, strict=True))
    data = {"inline": True, "text_columns": [*row]}
    raw = {"spec": {"model": {"name": str(home / "model")}, "data": data}, "rows": [row]}
    job = submit(check(raw, settings, database), database)
    app: Any = object()
    Scheduler(settings, database, app).plan()
    run(settings, Database(database.url), 1000.0)
    client = new_app(settings).test_client()
    example = client.get(f"/api/v1/jobs/{job}/examples/0").json
    return example, client.get(f"/jobs/{job}/examples/0").text, client.get(f"/jobs/{job}").text


def logits(home: Path) -> list[float]:
    loaded = headwise.load(home / "model", device="cpu")
    found: list[float] = (
        loaded.model(**loaded.tokenizer(*PAIR, return_tensors="pt")).logits[0].tolist()
    )
    return found


def test_a_number_is_shown_as_it_is(tmp_path: Path) -> None:
    example, page, of_job = pages(tmp_path, labels=("score",))
    (wanted,) = logits(tmp_path)
    (stored,) = example["probabilities"]
    assert abs(stored - wanted) < 1e-4
    shown = f"{wanted:.{3 if abs(wanted) >= 1 else 4}f}".replace("-", "−")[:5]
    assert '<th scope="col">Output</th>' in of_job
    prediction = page.partition('<dl class="probabilities">')[2].partition("</dl>")[0]
    examples = of_job.partition('<section id="examples"')[2].partition("</section>")[0]
    for text in (prediction, examples):
        assert shown in text
        assert "%" not in text
        assert "redicted" not in text


def test_labels_have_probabilities_of_their_own(tmp_path: Path) -> None:
    example, page, of_job = pages(tmp_path, problem_type="multi_label_classification")
    for stored, wanted in zip(example["probabilities"], logits(tmp_path), strict=True):
        assert abs(stored - 1 / (1 + 2.718281828**-wanted)) < 1e-4
    assert "The probability of each label on its own" in page
    assert '<span class="tag">strongest</span>' in page
    assert '<th scope="col">Strongest</th>' in of_job
