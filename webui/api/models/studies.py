"""Studies."""

from __future__ import annotations

from pydantic import Field

from jobs.states import JobState
from webui.api.models.compare import ComparedJobsAnswer
from webui.api.models.jobs import MAX_ID, JobAnswer
from webui.contract.models import DEPRECATED, Answer, Page, PageQuery, Query


class StudyQuery(PageQuery):
    """The studies to list."""

    offset: int = Field(
        default=0,
        ge=0,
        le=MAX_ID,
        json_schema_extra=DEPRECATED,
        description="Use `next` of an answer.",
    )


class CompareQuery(Query):
    """The two studies to compare."""

    a: int = Field(ge=1, le=MAX_ID, description="A study.")
    b: int = Field(ge=1, le=MAX_ID, description="Another one.")


class RankingAgreement(Answer):
    """Agreement of the rankings of two studies by one source."""

    source: str
    title: str
    spearman: float | None
    """null where a ranking is constant."""


class ComparisonAnswer(ComparedJobsAnswer):
    """Two studies side by side."""

    findings: dict[int, dict[str, list[str]]]
    """Sentences by study and step."""
    correlations: list[RankingAgreement]
    """Of the rankings by one source that both have."""


class StudyRowAnswer(Answer):
    """A study in a list."""

    id: int
    name: str
    user: str
    created_at: float
    steps: dict[str, int]
    """Its jobs' numbers by step."""
    states: dict[str, JobState]
    """Their states."""
    state: JobState


class StudyPage(Page):
    """Studies, newest first."""

    studies: list[StudyRowAnswer]
    total: int
    """Studies on all pages."""


class StudyAnswer(Answer):
    """A study, its jobs, and what they found."""

    id: int
    name: str
    user: str
    created_at: float
    state: JobState
    final: bool
    """True once all of its jobs have ended."""
    steps: dict[str, JobAnswer]
    """Its jobs by step."""
    findings: dict[str, list[str]]
    """Sentences by step, of those that have succeeded; `agreement` is about several."""
