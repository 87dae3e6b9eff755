"""A whole study on real processes: every step once, in its order, and told of at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.reads import studies
from scheduler.submission.study import check_study, submit_study
from tests.helpers.apps import new_app
from tests.helpers.stack import Stack
from tests.helpers.tiny import bert_folder, pairs_file

STEPS = ["attribution", "taylor", "leave-one-out", "pruning", "attack"]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


def test_a_study_from_submission_to_its_page(stack: Stack) -> None:
    data = {
        "path": str(pairs_file(stack.home / "pairs.jsonl", 36)),
        "text_columns": ["premise", "hypothesis"],
        "label_column": "label",
    }
    model = {"name": str(bert_folder(stack.home / "models/tiny"))}
    sizes = {"examples": 18, "steps": 4, "triggers": 1}
    raw = {"name": "tiny", "spec": {"model": model, "data": data, **sizes}}
    checked = check_study(raw, stack.settings, stack.database)
    found = submit_study(checked, stack.database)
    assert list(found.jobs) == STEPS
    stack.start_scheduler_and_worker()
    stack.until(lambda: studies.get_study(stack.database, found.study).final, "the study", 120)
    failed = stack.rows("SELECT job_id, state, error FROM jobs WHERE state <> 'succeeded'")
    assert failed == []
    # No step began before those that it needs had ended.
    order = (
        "SELECT COUNT(*) FROM job_parent p JOIN job j ON j.id = p.job_id "
        "JOIN job q ON q.id = p.parent_id WHERE j.started_at < q.finished_at"
    )
    assert stack.rows(order) == [(0,)]
    app = new_app(stack.settings)
    client = app.test_client()
    page = client.get(f"/studies/{found.study}").text
    for part in ("heads", "agreement", "curve", "triggers", "examples"):
        assert f'id="{part}"' in page, part
    assert "The whole model is right on" in page
    shown = re.search(r"(\d+) of \d+ heads removed", page)
    assert shown is not None
    assert page.count('<td class="goes"') == int(shown[1]) > 0
    said = client.get(f"/api/v1/studies/{found.study}").json["findings"]
    assert set(said) == {*STEPS, "agreement"}
    report = client.get(f"/api/v1/studies/{found.study}/report.html").text
    assert "is not complete" not in report
    assert report.count("Computed on") == len(STEPS)
    again = client.post("/api/v1/studies", json=raw).json
    assert again["jobs"] == found.jobs
    compared = client.get(f"/studies/compare?a={found.study}&b={again['study']}").text
    for part in ("findings", "heads", "rankings", "curves", "triggers"):
        assert f'id="{part}"' in compared, part
    app.extensions["headwise"].database.close()
