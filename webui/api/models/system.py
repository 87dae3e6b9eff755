"""Processes, data files and recurring jobs."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from db.ops.conditions import Notice
from db.ops.fleet import ProcessState, Scheduler, Worker
from db.queue.recurring import Run
from jobs.scheduling import recurring
from webui.contract.models import Answer, Page, RawBody


class SystemAnswer(Answer):
    """The installation at its processes' last heartbeats."""

    notices: list[Notice]
    """Faults, and their remedies."""
    schedulers: list[Scheduler]
    workers: dict[ProcessState, int]
    """Workers by condition."""


class WorkersAnswer(Page):
    """Worker processes, last seen first."""

    workers: list[Worker]


class FileBody(Answer):
    """A data file in an allowed folder."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "/data/pairs.jsonl"}]})

    path: str = Field(min_length=1, max_length=1000)
    """Its path on the server."""


class GuessedColumns(Answer):
    """A guess at the columns of a data file."""

    text_columns: list[str]
    """Empty where nothing is known."""
    label_column: str | None


class FileAnswer(Answer):
    """The head of a data file."""

    path: str
    """The value for `data.path`."""
    columns: list[str]
    rows: list[dict[str, str]]
    """The first rows, with long values cut."""
    guessed: GuessedColumns
    """The columns of texts and labels, from their names and values."""


class UploadAnswer(FileAnswer):
    """An uploaded data file; it is removed after a day unless a job refers to it."""

    name: str


class Recurring(recurring.Recurring):
    """A submission that is repeated."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cron": "30 2 * * mon-fri",
                    "zone": "Europe/Berlin",
                    "name": "nightly",
                    "submission": {
                        "spec": {
                            "model": {"name": "/data/models/my-classifier"},
                            "data": {"path": "/data/pairs.jsonl", "text_columns": ["text"]},
                        }
                    },
                }
            ]
        }
    )


class RecurringBody(RawBody):
    """A recurring job."""

    described = Recurring


class RecurringJobAnswer(Answer):
    """A recurring job with its last runs."""

    id: int
    name: str
    user_name: str
    cron: str
    zone: str
    submission: dict[str, Any]
    paused: bool
    created_at: float
    next_at: float | None
    error: str | None
    """The reason the time that is due waits, or the job was paused by something else."""
    runs: tuple[Run, ...]
    """Newest first."""


class RecurringAnswer(Page):
    """Recurring jobs, the oldest first."""

    recurring: list[RecurringJobAnswer]


class RemovedAnswer(Answer):
    """The number of what was removed."""

    removed: int
