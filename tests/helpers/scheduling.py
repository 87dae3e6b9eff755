"""Jobs for tests of the scheduler."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.queue import claims
from db.results import commit
from jobs.settings import Settings
from scheduler.submission.submit import check, submit
from tests.helpers.databases import rows
from tests.helpers.inputs import raw_submission
from tests.helpers.jobs import ALICE, completed


class Quiet:
    """A broker that only takes messages."""

    connection_errors = (ConnectionError,)

    def connection_for_write(self) -> Quiet:
        return self

    def send_task(self, *_: object, **__: object) -> None:
        pass


def submitted(database: Database, settings: Settings, **spec: Any) -> int:
    """Submit a job that `raw_submission` describes; returns its number."""
    return submit(check(raw_submission(settings.home, **spec), settings, database), database)


def states(database: Database) -> list[str]:
    """Read the states of all jobs in their order."""
    return [row[0] for row in rows(database, "SELECT state FROM job ORDER BY id")]


def commit_everything(database: Database) -> None:
    """Alice computes every shard that is ready."""
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
