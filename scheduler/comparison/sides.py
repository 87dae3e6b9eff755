"""The sides of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from db.database import Database
from db.reads import jobs as job_reads
from db.reads import studies
from db.reads.jobs import Job
from jobs.errors import NotFoundError, refuse
from jobs.kinds import SPECS
from jobs.specs.submission import parse_spec
from jobs.states import JobState
from scheduler.serializers import data_title, job_title, model_title

MOST = 8
"""Most sides of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A job, or a study, that is compared with others."""

    number: int
    noun: str
    """`job` or `study`."""
    title: str
    steps: Mapping[str, Job]
    """Its jobs: of a study by step, of a job that one alone under an empty name."""
    created_at: float

    @property
    def nouns(self) -> str:
        """The plural of its noun."""
        return {"job": "jobs", "study": "studies"}[self.noun]

    @property
    def name(self) -> str:
        """Its name in figures: `job 5 (base)`."""
        given = f" ({self.given})" if self.given else ""
        return f"{self.noun} {self.number}{given}"

    @property
    def given(self) -> str:
        """The name that its user gave it."""
        own = self.steps.get("")
        return own.name if own else self.title

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that have results, or may have some: of a study those that have succeeded."""
        return tuple(
            job
            for step, job in self.steps.items()
            if job.examples_done and (not step or job.state is JobState.SUCCEEDED)
        )

    @property
    def models(self) -> list[str]:
        """The names of its models."""
        return list(dict.fromkeys(map(model_title, self.steps.values())))

    @property
    def data(self) -> list[str]:
        """The names of its data."""
        return list(dict.fromkeys(map(data_title, self.steps.values())))

    def job(self, kind: str) -> Job | None:
        """The first of its jobs of a kind."""
        return next((job for job in self.jobs if job.kind == kind), None)

    @property
    def rankings(self) -> list[tuple[str, Job]]:
        """The sources that its jobs rank heads by; of a study those that studies compare."""
        return [
            (source, job)
            for job in self.jobs
            for spec in [parse_spec(job.spec)]
            for source in (spec.compared if self.noun == "study" else spec.offers)
        ]

    def ranks_by(self, source: str) -> Job | None:
        """The job that ranks heads by a source."""
        return next((job for name, job in self.rankings if name == source), None)


def sides_of(database: Database, numbers: Sequence[int], *, studies: bool) -> tuple[Side, ...]:
    """The sides of a comparison of jobs, or of two studies. Raises InputError, NotFoundError."""
    return (sides_of_studies if studies else sides_of_jobs)(database, numbers)


def sides_of_jobs(database: Database, numbers: Sequence[int]) -> tuple[Side, ...]:
    """The sides of a comparison of jobs.

    Raises InputError for fewer than two, more than MOST, the same one twice, and jobs of kinds that
    have nothing to compare, NotFoundError for a job that does not exist.
    """
    _check_count(numbers)
    jobs = job_reads.get_jobs(database, numbers)
    if missing := set(numbers) - {job.id for job in jobs}:
        raise NotFoundError(f"There is no job {min(missing)}. Leave it out, or choose another.")
    if not any(_comparable(one, other) for one, other in combinations(jobs, 2)):
        kinds = ", ".join(f"job {job.id} is of kind {job.kind}" for job in jobs)
        remedy = (
            "Choose jobs that rank heads (attribution, importance), or several of kind pruning or "
            "attack."
        )
        raise refuse("jobs", None, f"have nothing to compare: {kinds}", remedy)
    return tuple(
        Side(
            number=job.id,
            noun="job",
            title=job_title(job),
            steps={"": job},
            created_at=job.created_at,
        )
        for job in jobs
    )


def sides_of_studies(database: Database, numbers: Sequence[int]) -> tuple[Side, ...]:
    """The sides of a comparison of two studies.

    Raises InputError where both are the same, NotFoundError for a study that does not exist.
    """
    sides = tuple(side_of_study(database, number) for number in numbers)
    if len(set(numbers)) < len(numbers):
        raise refuse("b", numbers[-1], "is the same study", "Choose another.")
    return sides


def side_of_study(database: Database, number: int) -> Side:
    """A study as a side. Raises NotFoundError."""
    found = studies.get_study(database, number)
    jobs = {job.id: job for job in job_reads.get_jobs(database, list(found.steps.values()))}
    return Side(
        number=found.id,
        noun="study",
        title=found.name,
        steps={step: jobs[job] for step, job in found.steps.items() if job in jobs},
        created_at=found.created_at,
    )


def parse_jobs(text: str) -> tuple[int, ...]:
    """The numbers of jobs in `5,42,43`. Raises InputError for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [one for one in parts if not (one.isdecimal() and len(one) < 11 and int(one) < 2**31)]
    if wrong:
        remedy = "Give numbers with commas between them, such as 5,42."
        raise refuse("jobs", wrong[0], "is not the number of a job", remedy)
    return tuple(map(int, parts))


def _check_count(numbers: Sequence[int]) -> None:
    twice = [number for number in numbers if numbers.count(number) > 1]
    if twice:
        raise refuse("jobs", twice[0], "is given twice", "Give it once.")
    if len(numbers) < 2:
        message = "names one job" if numbers else "names no job"
        given = numbers[0] if numbers else None
        raise refuse("jobs", given, message, f"Give two to {MOST}, such as 5,42.")
    if len(numbers) > MOST:
        message = f"names {len(numbers)} jobs, and {MOST} can be compared"
        raise refuse("jobs", ",".join(map(str, numbers)), message, "Leave some out.")


def _comparable(one: Job, other: Job) -> bool:
    """True if both rank heads, or are of one kind."""
    return one.kind == other.kind or all(SPECS[job.kind].ranking_sources for job in (one, other))
