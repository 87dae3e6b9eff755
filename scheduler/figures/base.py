"""Kinds of figures, and the figures that a job, a study or a comparison has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from db.database import Database
from db.reads.jobs import Job
from headwise.figures import Figure, Source
from jobs.errors import NotFoundError, nearest, refuse
from scheduler.serializers import data_title, model_title

Choices = Mapping[str, Mapping[str, str]]
"""Values with their titles, by the name of the choice; the first one is the default."""


Subject = TypeVar("Subject")
"""A job, a study, or the sides of a comparison."""


def _nothing(_database: Database, _subject: object) -> Choices:
    return {}


@dataclass(frozen=True, kw_only=True)
class FigureKind(Generic[Subject]):
    """A figure that subjects of one type have."""

    name: str
    title: str
    draw: Callable[[Database, Subject, Mapping[str, str]], Figure]
    """The figure, given a value for each of the choices. Raises NotFoundError without results."""
    choices: Callable[[Database, Subject], Choices] = _nothing
    open: bool = False
    """True if the choices are the first of many: `draw` takes others, and checks them."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure, and what it was chosen from."""

    name: str
    choices: Choices
    chosen: Mapping[str, str]
    """The value of each choice."""
    figure: Figure
    file_name: str
    """The beginning of the names of its files."""


@dataclass(frozen=True, kw_only=True)
class Figures(Generic[Subject]):
    """The figures that a subject has, or will have."""

    subject: Subject
    title: str
    """The subject in messages: "Job 5"."""
    file_name: str
    """The subject in the names of files: "job-5"."""
    kinds: tuple[FigureKind[Subject], ...]

    def json(self, database: Database) -> list[dict[str, Any]]:
        """The figures, and what can be chosen of each, for API and commands."""
        return [
            {
                "name": kind.name,
                "title": kind.title,
                "choices": {
                    name: [{"value": value, "title": title} for value, title in values.items()]
                    for name, values in kind.choices(database, self.subject).items()
                },
            }
            for kind in self.kinds
        ]

    def draw(
        self,
        database: Database,
        name: str,
        given: Mapping[str, str],
        *,
        offered: Mapping[str, str] | None = None,
    ) -> Drawn:
        """Draw a figure.

        given: values of its choices; one that is missing has its default
        offered: values, not empty, for those of the other choices that the figure has

        Raises NotFoundError for an unknown figure and without results, InputError for an unknown
        choice or value.
        """
        known = {kind.name: kind for kind in self.kinds}
        if name not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise NotFoundError(f"{self.title} has no figure {name[:80]!r}. {has}")
        choices = known[name].choices(database, self.subject)
        fitting = {key: value for key, value in (offered or {}).items() if key in choices and value}
        given = {**fitting, **given}
        for key, value in given.items():
            if key not in choices:
                remedy = f"It has {', '.join(choices)}." if choices else "Leave it out."
                raise refuse(key, value, f"is not a choice of the figure {name}", remedy)
            if value not in choices[key] and not known[name].open:
                raise refuse(key, value, "unknown value", nearest(value, choices[key]))
        chosen = {key: given.get(key, next(iter(values), "")) for key, values in choices.items()}
        return Drawn(
            name=name,
            choices=choices,
            chosen=chosen,
            figure=known[name].draw(database, self.subject, chosen),
            file_name=f"headwise-{self.file_name}-{name}",
        )


def source(
    job: Job, examples: int | None, *, example: int | None = None, provisional: bool = False
) -> Source:
    """The origin of the numbers of a job's figure: of so many examples, or of a single one."""
    return Source(
        model=model_title(job),
        data=data_title(job),
        examples=examples,
        example=example,
        rtol=job.spec.get("rtol") if job.spec.get("integration", "auto") == "auto" else None,
        job=job.id,
        result_hash=job.result_hash,
        provisional=provisional,
    )


def no_results(job: Job) -> NotFoundError:
    """The error for a job that has nothing to draw."""
    return NotFoundError(f"Job {job.id} has no results yet for this figure.")
