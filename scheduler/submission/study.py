"""Studies: jobs submitted together, which may need each other's results.

A study is `{"name": ..., "user": ..., "spec": {...}}`, see `jobs.study`, or any jobs:
`{"name": ..., "user": ..., "jobs": {"attribution": {"spec": {...}}, "pruning": {...}}}`. A `queue`
beside them is that of every job. Where a
specification wants the number of a job, "$attribution" means the job of that key, which must come
before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from db.accounts.audit import note_made
from db.database import Database
from db.queue.new_jobs import NewJob
from db.reads import jobs as job_reads
from db.reads import studies
from jobs.errors import ConflictError, InputError, Problem, nearest, refuse
from jobs.formatting import counted, time_range
from jobs.inputs.data.examples import Rows
from jobs.inputs.models.configuration import model_facts
from jobs.people import user_of
from jobs.scheduling.plan import Estimate
from jobs.settings import Settings
from jobs.specs.base import DataSpec
from jobs.specs.submission import parse_spec
from jobs.states import JobState
from jobs.study import own_problems, parse_study, restarted
from scheduler.submission.quick_jobs import rows_again
from scheduler.submission.references import Parent
from scheduler.submission.submit import (
    Checked,
    check,
    copied,
    early_problems,
    new_job,
    pinned,
    read_submission,
    rows_of,
)

ACTIONS = ("pause", "resume", "cancel")
MOST_JOBS = 100
_KEYS = ("name", "user", "queue", "spec", "jobs")
_PLACEHOLDER = 2**31 - 1
"""Numbers from here down stand for jobs that are not written yet."""


@dataclass(frozen=True, kw_only=True)
class CheckedStudy:
    """A study whose jobs have all passed their checks."""

    name: str
    user: str
    settings: Settings
    raw: Mapping[str, Mapping[str, Any]]
    """The submissions as they were given, by key, in their order."""
    jobs: Mapping[str, Checked]
    """The same, checked; numbers of jobs that are not written yet are placeholders."""
    steps: Sequence[str]
    """Every key in order, also those of `taken`."""
    taken: Mapping[str, int] = field(default_factory=dict)
    """Existing jobs that are reused as steps."""

    @property
    def reused(self) -> dict[str, int]:
        """Existing jobs used instead of new ones, by key: finished, or the same work."""
        taken = {key: one.existing_job or one.same_as for key, one in self.jobs.items()}
        return {key: number for key, number in taken.items() if number is not None}

    @property
    def estimate(self) -> Estimate:
        """The cost of the new jobs, one after the other."""
        new = [one.estimate for key, one in self.jobs.items() if key not in self.reused]
        unknown = [key for key, one in self.jobs.items() if one.estimate.seconds is None]
        known = all(one.seconds is not None for one in new)
        low, middle, high = (
            sum(getattr(one, name) or 0.0 for one in new) if known else None
            for name in ("low_seconds", "seconds", "high_seconds")
        )
        return Estimate(
            examples=sum(one.examples for one in new),
            shards=sum(one.shards for one in new),
            seconds=middle,
            low_seconds=low,
            high_seconds=high,
            time=time_range(low, high) if low and high else "",
            basis=f"{counted(len(new), 'job')}, from jobs like them"
            if known
            else f"no such job was measured yet: {', '.join(unknown)}",
            bytes=sum(one.bytes or 0 for one in new),
        )


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that was written."""

    study: int
    jobs: dict[str, int]
    """Numbers by key: finished jobs of the same results, and unfinished ones that are the same
    work, are taken instead of new ones."""


def check_study(raw: object, settings: Settings, database: Database) -> CheckedStudy:
    """Check every job of a study; nothing is written. Raises InputError with every problem."""
    if not isinstance(raw, Mapping) or "spec" not in raw:
        return _check_jobs(raw, settings, database)
    if "jobs" in raw:
        raise refuse("jobs", None, "cannot be combined with spec", "Give one of the two.")
    try:
        spec = parse_study(raw["spec"])
    except InputError as error:
        raise InputError([*error.problems, *early_problems(raw["spec"], settings)]) from None
    try:
        facts = model_facts(spec.model, settings)
        shape = (facts.layers, facts.heads)
    except InputError:  # told once more by the first job that is checked
        shape = (1, 1)
    jobs = spec.jobs(spec.chosen(*shape))
    name = raw.get("name", "")
    named = {
        step: {"spec": job, "name": f"{name}: {step}" if name else step}
        for step, job in jobs.items()
    }
    rest = {key: value for key, value in raw.items() if key != "spec"}
    try:
        return _check_jobs({**rest, "jobs": named}, settings, database)
    except InputError as error:
        raise InputError(own_problems(spec, error.problems)) from None


def _check_jobs(raw: object, settings: Settings, database: Database) -> CheckedStudy:
    name, user, jobs = _envelope(raw)
    numbers = {key: _PLACEHOLDER - place for place, key in enumerate(jobs)}
    pending: dict[int, Parent] = {}
    known: dict[str, int] = {}
    checked: dict[str, Checked] = {}
    problems: list[Problem] = []
    for key, job in jobs.items():
        try:
            found = check(_numbered(job, known), settings, database, pending)
        except InputError as error:
            # A reference to a job that was refused itself is not a problem of its own.
            refused = [numbers[other] for other in known if other not in checked]
            own = [problem for problem in error.problems if problem.value not in refused]
            problems += [replace(p, field=f"jobs.{key}.{p.field}") for p in own]
            known[key] = numbers[key]
            continue
        spec = found.submission.spec
        pending[numbers[key]] = Parent(kind=spec.kind, spec=spec)
        known[key] = found.existing_job or found.same_as or numbers[key]
        checked[key] = found
    if problems:
        raise InputError(problems)
    return CheckedStudy(
        name=name, user=user, settings=settings, raw=jobs, jobs=checked, steps=tuple(jobs)
    )


def submit_study(checked: CheckedStudy, database: Database) -> Study:
    """Write all jobs of a study in one transaction."""
    with ExitStack() as stack:
        # Before the transaction begins: reading files takes its time.
        rows = _rows_of(checked, stack)

        def job(key: str, numbers: Mapping[str, int]) -> NewJob | int:
            if key in checked.taken:
                return checked.taken[key]
            submission = read_submission(_numbered(checked.raw[key], numbers), checked.settings)
            found = checked.jobs[key]
            found = replace(found, submission=pinned(submission, found.facts))
            return new_job(found, rows[key])

        number, jobs = studies.write_study(database, checked.name, checked.user, checked.steps, job)
    note_made(f"study {number}")
    return Study(study=number, jobs=jobs)


def _rows_of(checked: CheckedStudy, stack: ExitStack) -> dict[str, Rows | None]:
    """The rows of every new job by key; jobs of the same data share them."""
    found: dict[str, Rows | None] = {}
    known: dict[DataSpec, Rows | None] = {}
    for key, job in checked.jobs.items():
        data = job.submission.spec.data
        if data.inline or data not in known:
            known[data] = stack.enter_context(rows_of(job))
        found[key] = known[data]
    return found


def restart_study(study: int, settings: Settings, database: Database) -> Study:
    """Submit a study again; jobs that succeeded are reused.

    Raises NotFoundError, ConflictError where it has not ended or has succeeded, InputError where
    it does not fit any more.
    """
    found = studies.get_study(database, study)
    jobs = {step: job_reads.get_job(database, number) for step, number in found.steps.items()}
    if any(not job.final for job in jobs.values()):
        raise ConflictError(f"Study {study} has not ended: cancel it before you restart it.")
    done = {step: job.id for step, job in jobs.items() if job.state is JobState.SUCCEEDED}
    anew = {step: job for step, job in jobs.items() if step not in done}
    if not anew:
        raise ConflictError(f"Study {study} has succeeded: there is nothing to run again.")
    specs = restarted(
        {step: parse_spec(job.spec) for step, job in anew.items()},
        {step: job.id for step, job in anew.items()},
    )
    again = {
        step: copied(jobs[step])
        | {"spec": spec}
        | ({"rows": rows_again(database, jobs[step])} if spec["data"].get("inline") else {})
        for step, spec in specs.items()
    }
    raw = {"name": found.name, "user": found.user, "jobs": again}
    checked = _check_jobs(raw, settings, database)
    return submit_study(replace(checked, steps=tuple(jobs), taken=done), database)


def control_study(database: Database, study: int, action: str) -> None:
    """Pause, resume or cancel every job of a study that has not ended.

    Raises InputError for an unknown action, NotFoundError for an unknown study and ConflictError
    where none of its jobs allows it.
    """
    if action not in ACTIONS:
        raise refuse("action", action, "is unknown", nearest(action, ACTIONS))
    studies.set_control(database, study, action)


def _envelope(raw: object) -> tuple[str, str, dict[str, dict[str, Any]]]:
    if not isinstance(raw, Mapping):
        raise refuse("study", raw, "must be a JSON object", "See docs/reference/jobs.md.")
    for key in raw.keys() - _KEYS:
        raise refuse(str(key), None, "unknown key", nearest(str(key), _KEYS))
    name, user, jobs = raw.get("name", ""), user_of(raw.get("user")), raw.get("jobs")
    for key, value in (("name", name), ("user", user)):
        if not isinstance(value, str) or len(value) > 100 or "\0" in value:
            raise refuse(key, value, "must be a text of at most 100 characters", "Shorten it.")
    if not isinstance(jobs, Mapping) or not 1 <= len(jobs) <= MOST_JOBS:
        message = f"must hold 1 to {MOST_JOBS} submissions by key"
        raise refuse("jobs", None, message, "See docs/reference/jobs.md.")
    for key, job in jobs.items():
        if not isinstance(job, Mapping):
            raise refuse(f"jobs.{key}", job, "must be a JSON object", "See docs/reference/jobs.md.")
    common = {"user": user, **({"queue": raw["queue"]} if "queue" in raw else {})}
    return name, user, {str(key): {**common, **job} for key, job in jobs.items()}


def _numbered(raw: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    """A submission whose specification names jobs by number in place of "$key"."""
    return {**raw, "spec": _resolved(raw["spec"], numbers)} if "spec" in raw else dict(raw)


def _resolved(value: Any, numbers: Mapping[str, int]) -> Any:
    """`value` with "$key" replaced by the number of that job, wherever it stands."""
    if isinstance(value, Mapping):
        return {key: _resolved(part, numbers) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(part, numbers) for part in value]
    if isinstance(value, str) and value.startswith("$"):
        return numbers.get(value[1:], value)
    return value
