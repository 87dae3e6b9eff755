"""Fields that the specifications of all kinds of jobs share: model, data, how it is computed."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headwise.models.labels import Outputs
from jobs.errors import Problem

Model = TypeVar("Model", bound=BaseModel)

MAX_ROWS = 10_000_000
ROW_BYTES = 127.0
"""About the bytes of a small row with its part of the indexes; see docs/explanation/scale.md."""
_HUB_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
_FOLDER = ("/", "./", "../", "~")


_HAS = {
    Outputs.CLASSES: "has classes",
    Outputs.LABELS: "has labels of which any number may apply (multi-label)",
    Outputs.NUMBERS: "gives numbers (regression)",
}


def read_strictly(model: type[Model], raw: object) -> Model:
    """A model from decoded JSON, in which no text is a number. Raises ValidationError."""
    # Read as JSON, because elsewhere a strict model takes no list for a tuple.
    return model.model_validate_json(json.dumps(raw), strict=True)


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def at(field: str, message: str, remedy: str = "") -> PydanticCustomError:
    """The error of a validator that looks at several fields, told at one of them.

    field: dotted, from the model that has the validator
    remedy: where the description of the field is none
    """
    context = {"field": field, "message": message, "remedy": remedy}
    return PydanticCustomError("at", "{message}", context)


LABEL_COLUMN = "data.label_column"
"""The field that jobs which need gold labels are told at."""
NAME_THE_LABELS = "Name the column with the gold labels."


def inner_model(annotation: object) -> type[BaseModel] | None:
    """The model among the types of a field, if there is one."""
    types = (annotation, *get_args(annotation))
    return next((t for t in types if isinstance(t, type) and issubclass(t, BaseModel)), None)


class ModelSpec(Frozen):
    """A model: a local folder, or a hub name with a revision."""

    name: str = Field(
        min_length=1,
        max_length=500,
        description="Local folder (starts with '/', './' or '~'), or hub name like 'org/model': "
        "a sequence classifier with safetensors weights.",
    )
    revision: str | None = Field(
        default=None, max_length=100, description="Hub only: branch, tag or commit. Default: main."
    )

    @property
    def is_local(self) -> bool:
        """True where `name` is a folder."""
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
            raise at("revision", "a local folder has no revision; leave model.revision empty")
        return self


class DataSpec(Frozen):
    """Examples: rows of a data file, of a dataset on the hub, or of the submission itself."""

    path: str | None = Field(
        default=None,
        max_length=1000,
        description="JSON, CSV, TSV or Parquet file in an allowed folder.",
    )
    dataset: str | None = Field(
        default=None, pattern=_HUB_NAME, description="Hub dataset, e.g. 'nyu-mll/glue'."
    )
    inline: bool = Field(
        default=False,
        exclude_if=operator.not_,  # the hashes of specifications from before it stay the same
        description="The rows are those of the submission (`rows`).",
    )
    config: str | None = Field(default=None, max_length=100, description="Hub: configuration.")
    split: str | None = Field(default=None, max_length=100, description="Hub: split.")
    revision: str | None = Field(default=None, max_length=100, description="Hub: revision.")
    text_columns: tuple[str, ...] = Field(
        min_length=1,
        max_length=2,
        description="One text column, or two for pairs: premise, hypothesis.",
    )
    label_column: str | None = Field(
        default=None,
        max_length=200,
        description="Optional: column with the gold label, a name of a label or its index.",
    )
    offset: int = Field(default=0, ge=0, le=MAX_ROWS, description="Rows to skip at the start.")
    limit: int | None = Field(
        default=None, ge=1, le=MAX_ROWS, description="Largest number of rows to take. Default: all."
    )
    sample: int | None = Field(
        default=None, ge=1, le=MAX_ROWS, description="Draw this many of those rows at random."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the sample.")

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        given = [repr(value) for value in (self.path, self.dataset) if value is not None]
        given += ["data.inline"] * self.inline
        if len(given) != 1:
            raise at(
                "path",
                "needs exactly one of data.path (a file), data.dataset (the hub) and data.inline "
                f"(rows of the submission), got {' and '.join(given) or 'none'}",
            )
        if self.inline and (self.offset or self.limit or self.sample):
            message = "data.offset, data.limit and data.sample do not apply to data.inline"
            raise at("inline", message)
        if self.dataset and not self.split:
            raise at("split", "a hub dataset needs data.split, e.g. 'validation'")
        if not self.dataset and (self.config or self.split or self.revision):
            message = "data.config, data.split and data.revision belong to a hub dataset"
            raise at("dataset", message)
        if any(not name.strip() for name in self.text_columns):
            raise at("text_columns", "data.text_columns has an empty name")
        return self


MaxLength = Annotated[
    int | None,
    Field(
        ge=4,
        le=100_000,
        description="Longest input in word pieces. Default: the model's own limit.",
    ),
]
Dtype = Annotated[
    Literal["float32", "float64", "bfloat16", "float16"],
    Field(description="Number format of the model."),
]
Device = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="'auto' leaves it to the worker; or cpu, cuda, cuda:0.",
    ),
]


def _job_number(value: object) -> object:
    if isinstance(value, str) and value.startswith("$"):
        raise ValueError("names no job before this one")
    return value


JobNumber = Annotated[int, BeforeValidator(_job_number), Field(ge=1, lt=2**31)]
"""An earlier job; among jobs that are submitted together also "$" and the key of one of them."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An earlier job that a specification names: its parent, whose results it needs."""

    field: str
    """The field that names it, e.g. `sources.0.job`."""
    job: int
    kinds: tuple[str, ...] = ()
    """Kinds of job that fit; empty for every kind that ranks heads."""
    source: str | None = None
    """The ranking of heads that it must leave, if any."""
    same_model: bool = True
    """Require a job on the same model."""


@dataclass(frozen=True, kw_only=True)
class RankingSource:
    """A source of importance: what the heads of a model are ranked by."""

    name: str
    """Its name in specifications, results and the API."""
    title: str
    """Its name on pages."""
    meaning: str
    in_studies: bool = False
    """Studies compare the ranking with others, and prune by it."""


class JobSpec(Frozen):
    """The specification of a job; each kind is a subclass with its own `kind`."""

    version: Literal[1] = 1
    kind: str
    model: ModelSpec
    data: DataSpec
    max_length: MaxLength = None
    dtype: Dtype = "float32"
    device: Device = "auto"
    keep_text: bool = Field(
        default=True,
        description="Store texts and tokens with the results; otherwise only a hash and positions.",
    )

    ranking_sources: ClassVar[tuple[RankingSource, ...]] = ()
    """The sources of importance that jobs of this kind rank heads by."""
    model_from: ClassVar[str | None] = None
    """The field that names the job whose model is used where the specification names none."""
    costly: ClassVar[tuple[str, ...]] = ("max_length", "dtype", "device")
    """Fields that decide what a unit of `cost` takes."""
    unit_seconds: ClassVar[float] = 0.015
    """Seconds that a unit of `cost` is assumed to take until jobs of this kind have been measured:
    a forward pass of a 6-layer model on two CPU cores."""

    @property
    def offers(self) -> tuple[str, ...]:
        """The names of the sources that this very job ranks heads by."""
        return tuple(source.name for source in self.ranking_sources)

    @property
    def compared(self) -> tuple[str, ...]:
        """Those of `offers` that studies compare, and prune by."""
        chosen = [source.name for source in self.ranking_sources if source.in_studies]
        return tuple(name for name in self.offers if name in chosen)

    @property
    def needs_gold(self) -> bool:
        """True where every example must have a gold label."""
        return False

    @property
    def loads(self) -> str:
        """The model and how it is loaded; workers prefer jobs on the model that they hold."""
        return f"{self.model.name}@{self.model.revision or ''} {self.dtype} {self.device}"

    @property
    def other_models(self) -> dict[str, ModelSpec]:
        """Models that it runs besides its own, by field; all must have the same labels."""
        return {}

    def with_other_models(self, models: Sequence[ModelSpec]) -> Self:
        """A copy with `models` in place of `other_models`, in the same order."""
        assert not models
        return self

    def references(self) -> tuple[Reference, ...]:
        """The earlier jobs that it names."""
        return ()

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """The use that is made of gold labels, with "needs data.label_column"; None without one.

        given: the fields as they were given, some of which may be missing or wrong
        """
        return None

    @model_validator(mode="after")
    def _has_gold(self) -> Self:
        if self.data.label_column is None and (message := self.gold_for(vars(self))):
            raise at(LABEL_COLUMN, message, NAME_THE_LABELS)
        return self

    def left_out_jobs(self, pending: Collection[int] = ()) -> tuple[int, ...]:
        """Jobs whose examples this one leaves out of its own.

        pending: numbers of jobs that are not written yet, and have no examples
        """
        return ()

    def nothing_left(self, examples: int) -> Problem:
        """The problem of data whose examples are all left out."""
        message = f"all {examples:,} examples were used to rank the heads"
        return Problem(field="data", value=None, message=message, remedy="Give other examples.")

    def result_bytes(self, layers: int, heads: int) -> float:
        """Bytes that the results of an example take in the database, about."""
        return ROW_BYTES

    def misfits(self, labels: tuple[str, ...], outputs: Outputs) -> list[Problem]:
        """Problems with a model that has these labels."""
        return []

    def fitted(self, outputs: Outputs) -> Self:
        """A copy whose fields that were not given fit the outputs of the model."""
        return self

    def classless(self, outputs: Outputs, *allowed: Outputs) -> list[Problem]:
        """The problem of a model with other outputs than those allowed."""
        if outputs in allowed:
            return []
        message = f"{_HAS[outputs]}; a job of kind {self.kind} needs classes"
        remedy = "Choose a classifier of two classes or more."
        return [Problem(field="model.name", value=self.model.name, message=message, remedy=remedy)]

    def unlabelled(self, message: str) -> Problem:
        """The problem of data with a row that has no gold label; `message` names the row."""
        return Problem(
            field="data.label_column",
            value=self.data.label_column,
            message=message,
            remedy="Label every row.",
        )

    def cost(self, layers: int, heads: int) -> float:
        """Work per example, in the kind's own unit; estimates scale measured rates by it."""
        return 1.0
