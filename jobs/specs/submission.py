"""What a user asks for: frozen, validated, versioned and hashed job specifications.

A spec says everything that decides a result and nothing else; who submitted it, its name and
its priority belong to the `Submission` around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
)

from jobs.errors import InputError, Problem, nearest, refuse
from jobs.kinds import SPECS, Spec
from jobs.kinds.attack import AttackSpec
from jobs.kinds.attribution import AttributionSpec
from jobs.kinds.importance import ImportanceSpec
from jobs.kinds.pruning import PruningSpec
from jobs.settings import QUEUE_NAME
from jobs.specs.base import Frozen, JobSpec


def _kind_of(raw: object) -> str | None:
    if isinstance(raw, JobSpec):
        return raw.kind
    return str(raw.get("kind", "attribution")) if isinstance(raw, Mapping) else None


_YEAR = 31_536_000


def _time(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is neither a number of seconds nor a time") from None
    if found.tzinfo is None:
        raise ValueError("has no time zone")
    return found


class Kept(Frozen):
    """How long a job is kept."""

    keep_days: float | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="Days after its end that the job is deleted; 0 is never, empty is as the "
        "settings say.",
    )
    keep_details_days: float | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="Days after its end that its texts and rows per example are purged; 0 is "
        "never, empty is as the settings say.",
    )


class Submission(Kept):
    """A spec with what the queue needs to know of it."""

    spec: Annotated[
        Annotated[AttributionSpec, Tag("attribution")]
        | Annotated[ImportanceSpec, Tag("importance")]
        | Annotated[PruningSpec, Tag("pruning")]
        | Annotated[AttackSpec, Tag("attack")],
        Discriminator(_kind_of),
    ]
    name: str = Field(default="", max_length=200, description="Shown in lists.")
    user: str = Field(default="local", min_length=1, max_length=100)
    priority: int = Field(default=0, ge=-100, le=100, description="Higher runs first.")
    queue: str = Field(default="default", pattern=QUEUE_NAME)
    idempotency_key: str | None = Field(
        default=None, max_length=100, description="The same key from the same user is one job."
    )
    again: bool = Field(
        default=False, description="Run it even where a finished job has the same results."
    )

    deadline: float | datetime | None = Field(
        default=None,
        description="When it fails with what there is, unless it has ended: seconds from now, or "
        "a time with its zone such as 2026-11-30T08:00+01:00.",
    )

    @field_validator("deadline", mode="before")
    @classmethod
    def _seconds_or_time(cls, value: object) -> object:
        if isinstance(value, str):
            given = value.strip()
            try:
                value = float(given) if given else None
            except ValueError:
                value = _time(given)
        if isinstance(value, int | float) and not 0 < value <= _YEAR:
            raise ValueError("must be more than 0 and at most 31,536,000 seconds, a year")
        return value

    @field_validator("name", "user", "idempotency_key")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("has a NUL character, which databases cannot store")
        return value


class Changes(Kept):
    """What may be changed of a job that was submitted; what is not given stays."""

    priority: int = Field(default=0, ge=-100, le=100, description="Higher runs first.")


def canonical_json(spec: JobSpec) -> str:
    """The spec as JSON with sorted keys: equal specs give equal text."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def spec_hash(spec: JobSpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def parse_spec(raw: object) -> Spec:
    """A spec of any kind from decoded JSON. Raises InputError with every problem found."""
    return parse_submission({"spec": raw}).spec


def parse_submission(raw: object) -> Submission:
    """A submission from decoded JSON. Raises InputError with every problem found."""
    if not isinstance(raw, Mapping):
        raise _no_object("submission", raw)
    if "spec" in raw and not isinstance(raw["spec"], Mapping):
        raise _no_object("spec", raw["spec"])
    try:
        return Submission.model_validate(raw)
    except ValidationError as error:
        raise InputError([problem(item, Submission) for item in error.errors()]) from None


def parse_changes(raw: object) -> Changes:
    """Changes of a job from decoded JSON. Raises InputError with every problem found."""
    if not isinstance(raw, Mapping):
        raise _no_object("changes", raw)
    try:
        return Changes.model_validate(raw)
    except ValidationError as error:
        raise InputError([problem(item, Changes) for item in error.errors()]) from None


def _no_object(what: str, raw: object) -> InputError:
    return refuse(what, raw, "must be a JSON object", "See docs/jobs.md.")


def problem(item: Any, model: type[BaseModel]) -> Problem:
    """What pydantic found wrong with a field of `model`, in the words of all problems."""
    if item["type"] == "union_tag_invalid":
        kind = item["input"]["kind"]
        return Problem(
            field="kind", value=kind, message="is no kind of job", remedy=nearest(str(kind), SPECS)
        )
    path = [str(part) for part in item["loc"]]
    if model is Submission and path[0] == "spec" and len(path) > 1:
        # The second part of the path is the kind.
        model, path = SPECS[path[1]], path[2:]
    field = ".".join(path) or "spec"
    owner = _model_at(model, path[:-1])
    if item["type"] == "extra_forbidden":
        return Problem(
            field=field,
            value=item["input"],
            message="unknown key",
            remedy=nearest(path[-1], owner.model_fields if owner else ()),
        )
    info = owner.model_fields.get(path[-1]) if owner and path else None
    message = item["msg"].removeprefix("Value error, ")
    value = None if item["type"] == "missing" else item["input"]
    return Problem(
        field=field,
        value=value if not isinstance(value, Mapping) else None,
        message=message[0].lower() + message[1:],
        remedy=(info.description or "") if info else "",
    )


def _model_at(model: type[BaseModel], path: list[str]) -> type[BaseModel] | None:
    """The model that holds the last part of a path; list indices are part of paths."""
    for part in path:
        if part.isdecimal():
            continue
        info = model.model_fields.get(part)
        annotation = info.annotation if info else None
        inner = next((a for a in (annotation, *get_args(annotation)) if _is_model(a)), None)
        if inner is None:
            return None
        model = inner
    return model


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
