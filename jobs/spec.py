"""What a user asks for: frozen, validated, versioned and hashed job specifications.

A spec says everything that decides a result and nothing else; who submitted it, its name and
its priority belong to the `Submission` around it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from jobs.errors import InputError, Problem, nearest

T = TypeVar("T", bound=BaseModel)

MAX_ROWS = 10_000_000
_HUB_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
_FOLDER = ("/", "./", "../", "~")
_RULE = re.compile(r"^(auto|(gauss-legendre|left-riemann):(\d{1,4}))$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class ModelSpec(_Frozen):
    """Which model: a local folder, or a hub name with a revision."""

    name: str = Field(
        min_length=1,
        max_length=500,
        description="Local folder (starts with '/', './' or '~'), or hub name like 'org/model'.",
    )
    revision: str | None = Field(
        default=None, max_length=100, description="Hub only: branch, tag or commit. Default: main."
    )

    @property
    def is_local(self) -> bool:
        """Whether `name` is a folder."""
        return self.name.startswith(_FOLDER)

    @field_validator("name")
    @classmethod
    def _folder_or_hub_name(cls, value: str) -> str:
        if not value.startswith(_FOLDER) and not re.match(_HUB_NAME, value):
            raise ValueError("is neither a folder (start it with '/' or './') nor a hub name")
        return value

    @model_validator(mode="after")
    def _revision_is_for_the_hub(self) -> ModelSpec:
        if self.is_local and self.revision is not None:
            raise ValueError("a local folder has no revision; leave model.revision empty")
        return self


class DataSpec(_Frozen):
    """Which examples: a JSONL, CSV or Parquet file, or a dataset on the hub."""

    path: str | None = Field(
        default=None,
        max_length=1000,
        description="JSONL, CSV or Parquet file in an allowed folder.",
    )
    dataset: str | None = Field(
        default=None, pattern=_HUB_NAME, description="Hub dataset, e.g. 'nyu-mll/glue'."
    )
    config: str | None = Field(default=None, max_length=100, description="Hub: configuration.")
    split: str | None = Field(default=None, max_length=100, description="Hub: split.")
    revision: str | None = Field(default=None, max_length=100, description="Hub: revision.")
    text_columns: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="One text column, or two for pairs."
    )
    label_column: str | None = Field(
        default=None, max_length=200, description="Column with the gold label: a name or an index."
    )
    offset: int = Field(default=0, ge=0, le=MAX_ROWS, description="Rows to skip at the start.")
    limit: int | None = Field(
        default=None, ge=1, le=MAX_ROWS, description="Largest number of rows to take. Default: all."
    )
    sample: int | None = Field(
        default=None, ge=1, le=MAX_ROWS, description="Draw this many of those rows at random."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the sample.")

    @field_validator("text_columns", mode="before")
    @classmethod
    def _split_columns(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if (self.path is None) == (self.dataset is None):
            given = "neither" if self.path is None else f"{self.path!r} and {self.dataset!r}"
            raise ValueError(
                f"needs exactly one of data.path (a file) and data.dataset (the hub), got {given}"
            )
        if self.dataset and not self.split:
            raise ValueError("a hub dataset needs data.split, e.g. 'validation'")
        if self.path and (self.config or self.split or self.revision):
            raise ValueError("data.config, data.split and data.revision belong to a hub dataset")
        if any(not name.strip() for name in self.text_columns):
            raise ValueError("data.text_columns has an empty name")
        return self


class AttributionSpec(_Frozen):
    """Self-attention attribution (Hao et al., AAAI 2021) of every head on every example."""

    version: Literal[1] = 1
    kind: Literal["attribution"] = "attribution"
    model: ModelSpec
    data: DataSpec
    max_length: int | None = Field(
        default=None,
        ge=4,
        le=100_000,
        description="Longest input in word pieces. Default: model's.",
    )
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
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        default="float32", description="Number format of the model."
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")] = Field(
        default="auto", description="Device; 'auto' leaves it to the worker."
    )
    edges: int = Field(
        default=16, ge=0, le=1000, description="Strongest token pairs kept per example."
    )
    keep_text: bool = Field(
        default=True,
        description="Store texts and tokens with the results; if not, a hash and positions only.",
    )

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


class Submission(_Frozen):
    """A spec with what the queue needs to know of it."""

    spec: AttributionSpec
    name: str = Field(default="", max_length=200, description="Shown in lists.")
    user: str = Field(default="local", min_length=1, max_length=100)
    priority: int = Field(default=0, ge=-100, le=100, description="Higher runs first.")
    queue: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    idempotency_key: str | None = Field(
        default=None, max_length=100, description="The same key from the same user is one job."
    )

    @field_validator("name", "user", "idempotency_key")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("has a NUL character, which databases cannot store")
        return value


def canonical_json(spec: AttributionSpec) -> str:
    """The spec as JSON with sorted keys: equal specs give equal text."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def spec_hash(spec: AttributionSpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def parse_spec(raw: object) -> AttributionSpec:
    """A spec from decoded JSON. Raises InputError with every problem found."""
    return _parse(AttributionSpec, raw, "spec")


def parse_submission(raw: object) -> Submission:
    """A submission from decoded JSON. Raises InputError with every problem found."""
    return _parse(Submission, raw, "submission")


def _parse(model: type[T], raw: object, what: str) -> T:
    if not isinstance(raw, Mapping):
        raise InputError(
            Problem(
                field=what, value=raw, message="must be a JSON object", remedy="See docs/jobs.md."
            )
        )
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InputError([_problem(model, item) for item in error.errors()]) from None


def _problem(model: type[BaseModel], item: Any) -> Problem:
    path = [str(part) for part in item["loc"]]
    field = ".".join(path).removeprefix("spec.") or "spec"
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
    for part in path:
        info = model.model_fields.get(part)
        inner = info.annotation if info else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return None
        model = inner
    return model
