"""Jobs of one text in the JSON API, and the submissions that the form starts from."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from flask import Blueprint
from pydantic import ConfigDict, Field

from db.reads import jobs as job_reads
from db.reads.status import status_of
from scheduler.serializers import job_json
from scheduler.submission.presets import presets
from scheduler.submission.quick_jobs import attack_text, explain_text
from scheduler.submission.submit import check, submit
from webui.api.models.jobs import JobAnswer
from webui.context import database, settings
from webui.contract.models import Answer
from webui.contract.operations import operation

TAG = "Jobs"
Places = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(max_length=1000)]

blueprint = Blueprint("quick_api", __name__, url_prefix="/api/v1")


class ExplainBody(Answer):
    """A text, or a pair, to explain."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "/data/models/my-classifier", "text": "A cat sleeps."}]
        }
    )

    model: str = Field(min_length=1, max_length=500)
    """Folder or name on the hub."""
    text: str = Field(min_length=1, max_length=100_000)
    second: str = Field(default="", max_length=100_000)
    """The second text of a pair."""
    target: str = Field(default="predicted", min_length=1, max_length=200)
    """predicted, or a label."""


class TryBody(Answer):
    """A text, or a pair, and words to put into it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "/data/models/my-classifier", "text": "A cat sleeps.", "words": "not"}
            ]
        }
    )

    model: str = Field(min_length=1, max_length=500)
    """Folder or name on the hub."""
    text: str = Field(min_length=1, max_length=100_000)
    second: str = Field(default="", max_length=100_000)
    """The second text of a pair."""
    words: str = Field(default="", max_length=10_000)
    """Words for the text, with spaces between them."""
    second_words: str = Field(default="", max_length=10_000)
    """Words for the second text."""
    positions: Places = Field(default=[])
    """Of each word, from 0 (the start) to 1; by default the words are spread evenly."""
    second_positions: Places = Field(default=[])


class PresetsAnswer(Answer):
    """Submissions to start from."""

    presets: dict[str, dict[str, Any]]
    """By title; an empty model or path is yet to be filled in."""


@blueprint.get("/presets")
@operation(TAG, PresetsAnswer)
def list_presets() -> PresetsAnswer:
    """List the submissions that the form of a new job offers to start from."""
    return PresetsAnswer(presets=presets(settings()))


@blueprint.post("/explain")
@operation(TAG, JobAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def explain(json: ExplainBody) -> tuple[JobAnswer, int]:
    """Submit an attribution of one text, ahead of all waiting work; example 0 has its result."""
    return _submit(explain_text(json.model, [json.text, json.second], json.target))


@blueprint.post("/attack/try")
@operation(TAG, JobAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def try_attack(json: TryBody) -> tuple[JobAnswer, int]:
    """Submit one text and the words to put into it, ahead of all waiting work."""
    places = [" ".join(map(str, one)) for one in (json.positions, json.second_positions)]
    words = [json.words, json.second_words]
    return _submit(attack_text(json.model, [json.text, json.second], words, places))


def _submit(raw: Mapping[str, Any]) -> tuple[JobAnswer, int]:
    job_id = submit(check(raw, settings(), database()), database())
    job = job_reads.get_job(database(), job_id)
    return JobAnswer(**job_json(job, status_of(database(), job, settings()))), 201
