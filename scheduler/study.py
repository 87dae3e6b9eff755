"""Studies: jobs submitted together, which may need each other's results.

A study is `{"name": ..., "user": ..., "jobs": {"attribution": {"spec": {...}}, "pruning": {...}}}`.
Where a specification wants the number of a job, "$attribution" means the job of that key, which
must come before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from db import studies
from db.database import Database
from db.store import NewJob
from jobs.errors import InputError, Problem, refuse
from jobs.settings import Settings
from scheduler.references import Parent
from scheduler.submit import Checked, check, new_job, pinned, read_submission

MOST_JOBS = 100
_PLACEHOLDER = 2**31 - 1
"""Numbers from here down stand for jobs that are not written yet."""


@dataclass(frozen=True, kw_only=True)
class CheckedStudy:
    """A study whose every job was found good."""

    name: str
    user: str
    settings: Settings
    raw: Mapping[str, Mapping[str, Any]]
    """The submissions as they were given, by key, in their order."""
    jobs: Mapping[str, Checked]
    """The same, checked; references to each other are placeholders still."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was written."""

    study: int
    jobs: dict[str, int]
    """Numbers by key: finished jobs of the same results, and unfinished ones that are the same
    work, are taken instead of new ones."""


def check_study(raw: object, settings: Settings, database: Database) -> CheckedStudy:
    """Check every job of a study; nothing is written. Raises InputError with every problem."""
    name, user, jobs = _envelope(raw)
    numbers = {key: _PLACEHOLDER - place for place, key in enumerate(jobs)}
    pending: dict[int, Parent] = {}
    known: dict[str, int] = {}
    checked: dict[str, Checked] = {}
    problems: list[Problem] = []
    for key, job in jobs.items():
        try:
            found = check(_resolved(job, known), settings, database, pending)
        except InputError as error:
            problems += [replace(p, field=f"jobs.{key}.{p.field}") for p in error.problems]
            continue
        finally:
            known[key] = numbers[key]
        spec = found.submission.spec
        pending[numbers[key]] = Parent(kind=spec.kind, spec=spec)
        checked[key] = found
    if problems:
        raise InputError(problems)
    return CheckedStudy(name=name, user=user, settings=settings, raw=jobs, jobs=checked)


def submit_study(checked: CheckedStudy, database: Database) -> Study:
    """Write all jobs of a study in one transaction."""

    def job(key: str, numbers: Mapping[str, int]) -> NewJob:
        found = checked.jobs[key]
        submission = read_submission(_resolved(checked.raw[key], numbers), checked.settings)
        submission = pinned(submission, found.facts)
        return new_job(replace(found, submission=submission), examples=True)

    number, jobs = studies.write_study(database, checked.name, checked.user, checked.jobs, job)
    return Study(study=number, jobs=jobs)


def _envelope(raw: object) -> tuple[str, str, dict[str, dict[str, Any]]]:
    if not isinstance(raw, Mapping):
        raise refuse("study", raw, "must be a JSON object", "See docs/jobs.md.")
    name, user, jobs = raw.get("name", ""), raw.get("user", "local"), raw.get("jobs")
    for field, value in (("name", name), ("user", user)):
        if not isinstance(value, str) or len(value) > 100 or "\0" in value:
            raise refuse(field, value, "must be a text of at most 100 characters", "Shorten it.")
    if not isinstance(jobs, Mapping) or not 1 <= len(jobs) <= MOST_JOBS:
        message = f"must hold 1 to {MOST_JOBS} submissions by key"
        raise refuse("jobs", None, message, "See docs/jobs.md.")
    for key, job in jobs.items():
        if not isinstance(job, Mapping):
            raise refuse(f"jobs.{key}", job, "must be a JSON object", "See docs/jobs.md.")
    return name, user, {str(key): {"user": user, **job} for key, job in jobs.items()}


def _resolved(value: Any, numbers: Mapping[str, int]) -> Any:
    """`value` with "$key" replaced by the number of that job, wherever it stands."""
    if isinstance(value, Mapping):
        return {key: _resolved(part, numbers) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(part, numbers) for part in value]
    if isinstance(value, str) and value.startswith("$"):
        return numbers.get(value[1:], value)
    return value
