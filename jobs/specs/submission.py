"""Submissions: a job's specification with its name, user, queue, priority and limits.

A specification holds everything that decides a result and nothing else; the user, the name and the
priority of a job belong to the `Submission` around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from jobs.errors import InputError, Problem, nearest, refuse
from jobs.kinds import DEFAULT, SPECS
from jobs.people import HIGHEST_PRIORITY, LOCAL, LONGEST_NAME, LOWEST_PRIORITY, user_of
from jobs.settings import QUEUE_NAME
from jobs.specs.base import (
    LABEL_COLUMN,
    NAME_THE_LABELS,
    Frozen,
    JobSpec,
    Model,
    read_strictly,
)
from jobs.specs.validation import UNKNOWN_KIND, message_of, own_errors, problem, problems

_YEAR = 31_536_000
_PRIORITY: Any = Field(
    default=0,
    ge=LOWEST_PRIORITY,
    le=HIGHEST_PRIORITY,
    description="From -100 to 100; higher runs first. Members give at most what the setting "
    "HEADWISE_MEMBER_PRIORITY says.",
)


def _kind_of(spec: Mapping[str, Any]) -> str:
    return str(spec.get("kind", DEFAULT))


def _time(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is neither a number of seconds nor a time") from None
    if found.tzinfo is None:
        raise ValueError("has no time zone")
    return found


class Kept(Frozen):
    """Days that a job and its details are kept."""

    keep_days: float | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="Days after its end that the job is deleted; 0 is never. Default: as the "
        "settings say.",
    )
    keep_details_days: float | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="Days after its end that its details (texts and rows per example) are purged; "
        "0 is never. Default: as the settings say.",
    )


class Submission(Kept):
    """A specification with what the queue needs to know of it."""

    spec: SerializeAsAny[JobSpec]
    name: str = Field(default="", max_length=200, description="Shown in lists.")
    user: str = Field(
        default=LOCAL,
        min_length=1,
        max_length=LONGEST_NAME,
        description="The owner, by default who submits it. Names are compared, and stored, without "
        "regard to capitals and invisible characters.",
    )
    priority: int = _PRIORITY
    queue: str = Field(
        default="default",
        pattern=QUEUE_NAME,
        description="Workers of this queue run the job. Lower-case letters, digits, - and _.",
    )
    idempotency_key: str | None = Field(
        default=None, max_length=100, description="The same key from the same user is one job."
    )
    rows: tuple[dict[str, Any], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description='The rows where data.inline is set, as objects: [{"text": "..."}].',
    )
    again: bool = Field(
        default=False, description="Run it even where a finished job has the same results."
    )

    notify: tuple[str, ...] = Field(
        default=(),
        max_length=20,
        description="Recipients, by name, that are told when it ends, besides those that are told "
        "of every job.",
    )
    deadline: float | datetime | None = Field(
        default=None,
        description="When to stop the job, keep its results so far and mark it failed: seconds "
        "from now, or a time with its zone such as 2026-11-30T08:00+01:00.",
    )

    @field_validator("spec", mode="before")
    @classmethod
    def _of_its_kind(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        if (kind := _kind_of(value)) not in SPECS:
            raise PydanticCustomError(UNKNOWN_KIND, "is not a kind of job")
        return read_strictly(SPECS[kind], value)

    @field_validator("deadline", mode="before")
    @classmethod
    def _seconds_or_time(cls, value: object) -> object:
        if isinstance(value, str):
            return _time(value.strip())
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("is neither a number of seconds nor a time")
        if not 0 < value <= _YEAR:
            raise ValueError("must be more than 0 and at most 31,536,000 seconds, a year")
        return value

    @field_validator("name", "user", "idempotency_key")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("has a NUL character, which databases cannot store")
        return value


class Changes(Kept):
    """Changes of a submitted job; fields that are not given stay as they are."""

    priority: int = _PRIORITY


def canonical_json(spec: JobSpec) -> str:
    """The specification as JSON with sorted keys: equal specifications give equal text."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def spec_hash(spec: JobSpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def parse_spec(raw: object) -> JobSpec:
    """A specification of any kind from decoded JSON. Raises InputError with every problem."""
    return parse_submission({"spec": raw}).spec


def parse_submission(raw: object) -> Submission:
    """A submission from decoded JSON. Raises InputError with every problem."""
    if not isinstance(raw, Mapping):
        raise _no_object("submission", raw)
    if "spec" in raw and not isinstance(raw["spec"], Mapping):
        raise _no_object("spec", raw["spec"])
    raw = {**raw, "user": user_of(raw.get("user"))}
    try:
        return read_strictly(Submission, raw)
    except ValidationError as error:
        found = [_submission_problem(item, raw) for item in own_errors(error)]
    spec = raw.get("spec") or {}
    raise InputError([*found, *unlabelled(SPECS.get(_kind_of(spec)), spec, found)])


def parse_changes(raw: object) -> Changes:
    """Changes of a job from decoded JSON. Raises InputError with every problem."""
    return parsed(Changes, raw, "changes")


def parsed(
    model: type[Model], raw: object, what: str, page: str = "docs/reference/jobs.md"
) -> Model:
    """A model from decoded JSON. Raises InputError with every problem."""
    if not isinstance(raw, Mapping):
        raise _no_object(what, raw, page)
    try:
        return read_strictly(model, raw)
    except ValidationError as error:
        found = problems(error, model)
    raise InputError([*found, *unlabelled(model, raw, found)])


def unlabelled(
    model: type[BaseModel] | None, raw: Mapping[str, Any], found: Sequence[Problem]
) -> list[Problem]:
    """The problem of a missing label column, where others kept it from being `found`."""
    need = getattr(model, "gold_for", None)
    data = raw.get("data") or {}
    if need is None or not isinstance(data, Mapping) or data.get("label_column"):
        return []
    if (message := need(raw)) is None or any(one.field == LABEL_COLUMN for one in found):
        return []
    return [Problem(field=LABEL_COLUMN, value=None, message=message, remedy=NAME_THE_LABELS)]


def _no_object(what: str, raw: object, page: str = "docs/reference/jobs.md") -> InputError:
    return refuse(what, raw, "must be a JSON object", f"See {page}.")


def _submission_problem(item: Any, raw: Mapping[str, Any]) -> Problem:
    """The problem of an error in a submission; keys of `spec` are named without it."""
    if item["type"] == UNKNOWN_KIND:
        kind = raw["spec"]["kind"]
        remedy = nearest(str(kind), SPECS)
        return Problem(field="kind", value=kind, message=message_of(item), remedy=remedy)
    first, *rest = item["loc"] or ("submission",)  # none where a key is no Unicode text
    if first == "spec" and (rest or item["type"] == "at"):
        return problem({**item, "loc": rest}, SPECS[_kind_of(raw["spec"])])
    return problem({**item, "loc": (first, *rest)}, Submission)
