"""What a user asks for: frozen, validated, versioned and hashed job specifications.

A spec says everything that decides a result and nothing else; who submitted it, its name and
its priority belong to the `Submission` around it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from jobs.attack import AttackSpec
from jobs.errors import InputError, Problem, nearest, refuse
from jobs.pruning import PruningSpec
from jobs.settings import QUEUE_NAME
from jobs.spec_parts import Frozen, JobSpec

ATTRIBUTION_SOURCES = ("attattr", "attattr-total", "attattr-absolute-total", "attention")
"""Means of: the head's largest cell (the paper's importance), the sum of its cells, the absolute
value of that sum, and the largest attention probability."""

_RULE = re.compile(r"^(auto|(gauss-legendre|left-riemann):(\d{1,4}))$")


class AttributionSpec(JobSpec):
    """Self-attention attribution (Hao et al., AAAI 2021) of every head on every example."""

    kind: Literal["attribution"] = "attribution"
    target: str = Field(
        default="predicted",
        min_length=1,
        max_length=200,
        description="'predicted', 'gold', or the name of one of the model's labels.",
    )
    output: Literal["probability", "logit", "log-probability"] = Field(
        default="probability", description="The scalar that is attributed."
    )
    integration: str = Field(
        default="auto",
        description="'auto' (meets rtol), 'gauss-legendre:m' or 'left-riemann:m' with m points.",
    )
    rtol: float = Field(
        default=1e-3,
        ge=1e-6,
        le=0.5,
        description="auto: relative error of a site's attribution that is aimed at.",
    )
    max_points: int = Field(
        default=64, ge=4, le=1024, description="auto: most points per example and site."
    )
    edges: int = Field(
        default=16, ge=0, le=1000, description="Strongest token pairs kept per example."
    )
    unit_seconds: ClassVar[float] = 0.25

    @property
    def offers(self) -> tuple[str, ...]:
        """The paper's score, two other sums of the attribution, and attention to compare with."""
        return ATTRIBUTION_SOURCES

    @property
    def needs_gold(self) -> bool:
        """The gold label as the target."""
        return self.target == "gold"

    def misfits(self, labels: tuple[str, ...]) -> list[Problem]:
        """The target must be a label."""
        if self.target in ("predicted", "gold", *labels):
            return []
        remedy = f"Give 'predicted', 'gold' or one of: {', '.join(labels)}."
        message = "is not a label of the model"
        return [Problem(field="target", value=self.target, message=message, remedy=remedy)]

    @field_validator("integration")
    @classmethod
    def _known_rule(cls, value: str) -> str:
        match = _RULE.match(value)
        if not match or (match[3] is not None and not 1 <= int(match[3]) <= 1024):
            raise ValueError(
                "must be 'auto', 'gauss-legendre:m' or 'left-riemann:m' with m from 1 to 1024"
            )
        return value

    @model_validator(mode="after")
    def _gold_needs_labels(self) -> AttributionSpec:
        if self.target == "gold" and self.data.label_column is None:
            raise ValueError("target 'gold' needs data.label_column")
        return self


class ImportanceSpec(JobSpec):
    """Importance of heads by other means: Taylor expansion or leaving one head out."""

    kind: Literal["importance"] = "importance"
    method: Literal["taylor", "leave-one-out"] = Field(
        description="'taylor' (Michel et al., 2019) or 'leave-one-out' (accuracy and loss)."
    )

    @property
    def offers(self) -> tuple[str, ...]:
        """Taylor's expansion, or what the loss and the accuracy lose with the head."""
        if self.method == "taylor":
            return ("taylor",)
        return ("leave-one-out-loss", "leave-one-out-accuracy")

    @property
    def needs_gold(self) -> bool:
        """Both methods need the loss."""
        return True

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes: a backward pass counts as two, layers before the head are shared."""
        return 3.0 if self.method == "taylor" else 1.0 + 0.6 * layers * heads

    @model_validator(mode="after")
    def _needs_labels(self) -> ImportanceSpec:
        if self.data.label_column is None:
            raise ValueError(f"method {self.method!r} needs data.label_column: gold labels")
        return self


Spec = AttributionSpec | ImportanceSpec | PruningSpec | AttackSpec
"""A specification of any kind."""
SPECS: dict[str, type[JobSpec]] = {one.model_fields["kind"].default: one for one in get_args(Spec)}
"""The kinds of jobs: the one list of them; the other layers' registries have the same keys."""


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
