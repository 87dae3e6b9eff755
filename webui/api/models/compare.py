"""Comparisons of jobs and studies."""

from __future__ import annotations

from pydantic import Field

from webui.api.models.figures import FigureAnswer
from webui.contract.models import Answer, Query


class ComparedJobsQuery(Query):
    """The jobs to compare."""

    jobs: str = Field(default="", max_length=200, description="Two to eight jobs: `5,42,43`.")


class SideAnswer(Answer):
    """A job or a study that is compared."""

    job: int | None = None
    study: int | None = None
    title: str
    models: list[str]
    data: list[str]
    created_at: float
    accuracy: float | None
    """Share of the labelled examples that the whole model predicts right."""
    accuracy_low: float | None
    """Ends of its 95 % interval."""
    accuracy_high: float | None
    accuracy_examples: int | None
    """Number of these examples."""
    residual_median: float | None
    """Completeness: the median residual of the worst layer, in units of the target."""
    residual_worst: float | None
    """The largest residual."""
    integration_points: float | None
    """Mean number of an example and site."""


class DifferenceAnswer(Answer):
    """A field of the specifications that differs."""

    field: str
    """Its dotted name; of a study with its step before it."""
    values: list[str]
    """Its value on each side."""


class AgreementAnswer(Answer):
    """The rank correlation of two rankings of heads."""

    one: str
    """A ranking: `job.source`."""
    other: str
    spearman: float | None
    """null where a ranking is constant."""


class ComparedJobsAnswer(Answer):
    """Jobs side by side."""

    sides: list[SideAnswer]
    warnings: list[str]
    """Reasons why numbers are not comparable: other tasks, labels or data."""
    differences: list[DifferenceAnswer]
    agreements: list[AgreementAnswer]
    figures: list[FigureAnswer]
    """The figures that `/compare/figures/<name>` draws."""
