"""Submissions and checks, of jobs and studies."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from pydantic import ConfigDict, Field, JsonValue, create_model

from jobs.kinds import SPECS
from jobs.scheduling.plan import Estimate
from jobs.settings import QUEUE_NAME
from jobs.specs import submission
from jobs.specs.base import Frozen, JobSpec, ModelSpec
from jobs.study import StudySpec
from webui.api.models.jobs import JobAnswer, Reading
from webui.contract.models import Answer, RawBody

_EXAMPLE: dict[str, JsonValue] = {
    "name": "demo",
    "priority": 0,
    "spec": {
        "model": {"name": "/data/models/my-classifier"},
        "data": {
            "path": "/data/pairs.jsonl",
            "text_columns": ["premise", "hypothesis"],
            "label_column": "label",
        },
        "rtol": 0.001,
    },
}


def _may_name_no_model(spec: type[JobSpec]) -> type[JobSpec]:
    """The specification of a kind, whose model may be that of a job which it names."""
    if spec.model_from is None:
        return spec
    model = Field(
        default=None, description=f"Default: the model of the job in `{spec.model_from}`."
    )
    return create_model(spec.__name__, __base__=spec, model=(ModelSpec | None, model))


_AnySpec: Any = reduce(or_, map(_may_name_no_model, SPECS.values()))


class Submission(submission.Submission):
    """A job to submit: a specification, which decides the results, and what the queue needs."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    spec: _AnySpec


class SubmissionBody(RawBody):
    """A job to submit."""

    described = Submission


class Study(Frozen):
    """A study: `spec`, of which its jobs are made, or `jobs`. Exactly one of them is given."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "paper",
                    "spec": {
                        "model": {"name": "/data/models/my-classifier"},
                        "data": {
                            "path": "/data/pairs.jsonl",
                            "text_columns": ["premise", "hypothesis"],
                            "label_column": "label",
                        },
                    },
                }
            ]
        }
    )

    name: str = Field(default="", max_length=100, description="Shown in lists.")
    user: str = Field(default="local", max_length=100, description="Whose study it is.")
    queue: str = Field(
        default="default",
        pattern=QUEUE_NAME,
        description="Of the jobs that name none: lower-case letters, digits, - and _.",
    )
    spec: StudySpec | None = Field(default=None, description="See docs/howto/studies.md.")
    jobs: dict[str, SubmissionBody] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description='By step, in order. "$step" in a specification is the number of that job.',
    )


class StudyBody(RawBody):
    """A study to submit."""

    described = Study


class ChangesBody(submission.Changes):
    """Changes of a job; what is not given stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"priority": 10}], "minProperties": 1}
    )


class ModelAnswer(Answer):
    """The configuration of a model."""

    family: str
    labels: tuple[str, ...]
    outputs: str
    """The meaning of the labels: `classes`, `labels` (multi-label) or `numbers` (regression)."""
    layers: int
    heads: int
    max_length: int | None


class CheckAnswer(Answer):
    """The result of a check; nothing was written."""

    estimate: Estimate
    existing_job: int | None
    """An unfinished job that is the same work."""
    same_as: int | None
    """A finished job with the same results."""
    model: ModelAnswer
    notes: list[str]
    """Treatment that one may not expect, such as cutting texts that are too long."""
    understood: Reading | None
    """The reading of the data; null for data of the hub, which planning reads."""
    first_texts: list[str] | None
    """The first example as it will be read; null for data of the hub."""


class SubmittedAnswer(Answer):
    """A submitted job, or the one that was taken instead."""

    job: JobAnswer
    estimate: Estimate
    url: str
    """Address of the job's page."""
    existing_job: int | None
    """An unfinished job that is the same work, taken instead."""
    same_as: int | None
    """A finished job with the same results, taken instead unless `again` is set."""
    notes: list[str]
    """Treatment that one may not expect."""


class StudySubmittedAnswer(Answer):
    """A submitted study."""

    study: int
    jobs: dict[str, int]
    """Numbers of its jobs by step, those that are reused included."""
    reused: dict[str, int]
    """Jobs that were there already, by step."""
    notes: list[str]
    """Treatment that one may not expect."""


class StudyCheckAnswer(Answer):
    """The result of checking a study; nothing was written."""

    estimate: Estimate
    """Of the jobs that are not there yet."""
    existing_job: None
    same_as: None
    jobs: dict[str, Estimate]
    """The estimate of each job, by step."""
    reused: dict[str, int]
    """Finished jobs that are reused, by step."""
    model: ModelAnswer
    notes: list[str]
    understood: Reading | None
