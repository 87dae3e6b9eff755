"""The uploads that jobs refer to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert

from db import schema
from db.database import Database
from db.ops.uploads import in_use
from tests.helpers.jobs import job_values, planned_job

DIGEST = "0123456789abcdef" * 2


def spec(keep_text: bool = True, path: str = f"/home/ada/uploads/{DIGEST}/Übung.csv") -> str:
    raw = {"data": {"path": path}, "keep_text": keep_text}
    return json.dumps(raw, separators=(",", ":"))


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, True),
        ({"state": "succeeded"}, True),
        ({"state": "failed", "finished_at": 1.0}, True),
        ({"spec": spec(path=f"uploads/{DIGEST}.csv")}, True),
        ({"spec": spec(path=f"/data/{DIGEST}.csv")}, False),
        ({"spec": spec(keep_text=False), "state": "running"}, True),
        ({"spec": spec(keep_text=False), "state": "succeeded"}, False),
        ({"state": "succeeded", "purged_at": 1.0}, False),
        ({"state": "deleting"}, False),
    ],
)
def test_a_job_that_has_its_texts_or_needs_them_refers_to_its_upload(
    database: Database, changes: dict[str, Any], used: bool
) -> None:
    planned_job(database)
    with database.write() as tx:
        tx.execute(insert(schema.job), job_values(**{"spec": spec(), "created_at": 1.0, **changes}))
    assert in_use(database) == ({DIGEST} if used else set())


def test_a_recurring_job_refers_to_its_upload(database: Database) -> None:
    values = {"name": "n", "user_name": "u", "cron": "0 0 * * *", "zone": "UTC", "paused": True}
    submission = json.dumps({"spec": json.loads(spec())}, ensure_ascii=False)
    times = {"next_at": 1.0, "retry_at": 0.0, "created_at": 1.0}
    with database.write() as tx:
        tx.execute(insert(schema.recurring), {**values, "submission": submission, **times})
    assert in_use(database) == {DIGEST}
