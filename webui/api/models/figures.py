"""Figures, and what can be chosen."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from headwise.figures import FORMS
from webui.api.models.jobs import MAX_ID
from webui.contract.models import Answer, Query
from webui.periods import DEFAULT_PERIOD, PeriodField

Value = Annotated[str, StringConstraints(max_length=200)]


class FileQuery(Query):
    """The format of a figure, and its choices; those that it does not have are refused."""

    format: Literal["svg", "png", "pdf", "csv", "json"] = Field(
        default="svg", description="`csv` is the table, `json` what a client makes the figure of."
    )

    @property
    def choices(self) -> dict[str, str]:
        """The choices that were given."""
        names = type(self).model_fields.keys() - self.no_choices
        found = self.model_dump(exclude_none=True, by_alias=True, include=set(names))
        return {name: value for name, value in found.items() if value}

    no_choices: ClassVar[frozenset[str]] = frozenset({"format"})
    """Names of parameters that choose something else."""


class FigureQuery(FileQuery):
    """The format of a figure of jobs, and its choices."""

    measure: Value | None = Field(default=None, description="The number that colours show.")
    metric: Value | None = Field(default=None, description="accuracy, macro_f1 or loss.")
    direction: Value | None = Field(default=None, description="both, least or most.")
    source: Value | None = Field(default=None, description="A source of importance.")
    with_: Value | None = Field(
        default=None, alias="with", description="The ranking to compare with: `job.source`."
    )
    ranking: Value | None = Field(
        default=None, description="Comparisons: a source of importance, or `first`."
    )
    x: Value | None = Field(default=None, description="Comparisons: a ranking, `job.source`.")
    y: Value | None = Field(default=None, description="Comparisons: another one.")
    label: Value | None = Field(default=None, description="The number of a gold label.")
    model: Value | None = Field(default=None, description="The number of a model.")
    layer: Value | None = None
    head: Value | None = None
    attention_type: Value | None = None
    example: Value | None = Field(
        default=None, description="Matrices: an example; `head` is then a name, `L3 H7`."
    )


class ExampleFigureQuery(FileQuery):
    """The format of a figure of one example, and its choices."""

    site: Value | None = Field(
        default=None, description="Words: the number of a site, or `all` for their mean."
    )
    head: Value | None = Field(default=None, description="Words: a head of the site, or `all`.")
    root: Value | None = Field(
        default=None,
        description="The tree: outgoing (the default), classifier, or the position of a token.",
    )
    tau: Value | None = Field(
        default=None, description="The tree: share of the largest cell that an edge needs."
    )
    tau_last: Value | None = Field(
        default=None, description="The tree: the same in the last layer."
    )


class ComparedFigureQuery(FigureQuery):
    """A figure of jobs that are compared."""

    no_choices = FileQuery.no_choices | {"jobs"}
    jobs: str = Field(default="", max_length=200, description="Two to eight jobs: `5,42,43`.")


class StudiesFigureQuery(FigureQuery):
    """A figure of two studies."""

    no_choices = FileQuery.no_choices | {"a", "b"}
    a: int = Field(ge=1, le=MAX_ID, description="A study.")
    b: int = Field(ge=1, le=MAX_ID, description="Another one.")


class QueueFigureQuery(FileQuery):
    """The format of a figure of queues, which has no choices."""

    no_choices = FileQuery.no_choices | {"hours"}
    hours: PeriodField = DEFAULT_PERIOD


class WorkerFigureQuery(QueueFigureQuery):
    """The format of a figure of a worker."""

    no_choices = QueueFigureQuery.no_choices | {"worker"}
    worker: str = Field(min_length=1, max_length=300, description="Its name.")


assert set(FORMS) == set(FileQuery.model_fields["format"].annotation.__args__)  # type: ignore[union-attr]


class FigureChoice(Answer):
    """A value that can be chosen."""

    value: str
    title: str


class FigureAnswer(Answer):
    """A figure that a job has, or will have."""

    name: str
    title: str
    choices: dict[str, list[FigureChoice]]
    """By the parameter of the query string; the first value is the default."""


class FiguresAnswer(Answer):
    """The figures of a job."""

    figures: list[FigureAnswer]
