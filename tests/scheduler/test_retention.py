"""The scheduler does what is due by itself, and repeats nothing that is done."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from db.database import Database
from db.ops import deletion, retention
from db.queue import claims, lifecycle
from db.reads import job_list
from db.reads import jobs as job_reads
from db.results import commit
from jobs.inputs.data.uploads import save_upload
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import model_folder
from tests.helpers.jobs import ALICE, completed, planned_job


def test_it_purges_deletes_and_then_looks_again_in_a_minute(
    database: Database, settings: Settings, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    old, young = sorted(lifecycle.finish_jobs(database))
    with database.write() as tx:
        for job, days in ((old, 10), (young, 3)):
            ended = f"UPDATE job SET finished_at = finished_at - {days * 86_400} WHERE id = {job}"
            tx.run(ended)
    kept = settings.model_copy(update={"keep_days": 5.0, "keep_details_days": 2.0})
    scheduler = Scheduler(kept, database, app)
    monkeypatch.setattr(deletion, "STEP_SECONDS", 60.0)
    looked = []
    real = retention.retain
    monkeypatch.setattr(retention, "retain", lambda *given: looked.append(1) or real(*given))
    for _ in range(8):
        scheduler.tick()
    assert [job.id for job in job_list.list_jobs(database)] == [young]
    with database.read() as tx:
        for table in ("head_score", "edge", "example_result"):
            assert tx.run(f"SELECT COUNT(*) FROM {table}").scalar() == 0, table
    assert job_reads.get_job(database, young).purged_at is not None
    assert 1 < len(looked) < 8


def test_it_removes_the_uploads_of_jobs_that_were_purged_or_deleted(
    database: Database, settings: Settings, app: Any
) -> None:
    model = model_folder(settings.home / "model")
    jobs = {}
    for name in ("kept", "purged", "deleted", "never submitted"):
        row = f'{{"text": "{name}"}}\n'.encode()
        path = save_upload(io.BytesIO(row), f"{name}.jsonl", settings)
        data = {"path": str(path), "text_columns": ["text"]}
        if name != "never submitted":
            raw = {"spec": {"model": {"name": str(model)}, "data": data}}
            jobs[name] = submit(check(raw, settings, database), database)
            control(database, jobs[name], "cancel")
        os.utime(path, (1.0, 1.0))
    lifecycle.sweep_jobs(database)
    control(database, jobs["purged"], "purge")
    control(database, jobs["deleted"], "delete")
    Scheduler(settings, database, app).tick()
    assert [path.name for path in settings.uploads.rglob("*.jsonl")] == ["kept.jsonl"]
