"""Checks of the earlier jobs that a specification names: they must exist and fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from db.database import Database
from db.reads import jobs as job_reads
from jobs.errors import NotFoundError, Problem, nearest
from jobs.inputs.data.examples import allowed_path
from jobs.kinds import SPECS
from jobs.settings import Settings
from jobs.specs.base import JobSpec, ModelSpec, Reference
from jobs.specs.submission import parse_spec
from jobs.states import JobState

_LOST = (JobState.FAILED, JobState.CANCELLING, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A job that another one names."""

    kind: str
    spec: JobSpec
    state: JobState = JobState.QUEUED
    purged: bool = False


def check_references(
    spec: JobSpec, settings: Settings, database: Database, pending: Mapping[int, Parent]
) -> list[Problem]:
    """Every problem with the jobs that a specification names; `pending` are yet to be written."""
    found = []
    for reference in spec.references():
        parent = pending.get(reference.job) or _stored(database, reference.job)
        problem = _misfit(reference, parent, spec, settings)
        if problem is not None:
            found.append(problem)
    return found


def _stored(database: Database, job_id: int) -> Parent | None:
    try:
        job = job_reads.get_job(database, job_id)
    except NotFoundError:
        return None
    return Parent(
        kind=job.kind, spec=parse_spec(job.spec), state=job.state, purged=job.purged_at is not None
    )


def _misfit(
    reference: Reference, parent: Parent | None, spec: JobSpec, settings: Settings
) -> Problem | None:
    def problem(message: str, remedy: str) -> Problem:
        return Problem(field=reference.field, value=reference.job, message=message, remedy=remedy)

    kinds = reference.kinds or [kind for kind, known in SPECS.items() if known.ranking_sources]
    words = " or ".join(kinds)
    if parent is None:
        return problem("there is no such job", f"Give the number of a job of kind {words}.")
    if parent.kind not in kinds:
        return problem(f"is a job of kind {parent.kind}", f"Give one of kind {words}.")
    if parent.state in _LOST:
        return problem(f"the job is {parent.state.value}", "Give one that did not fail.")
    if reference.source is None and parent.purged:
        remedy = "Name another, or run it again with a longer keep_details_days."
        return problem("its texts and rows per example were purged", remedy)
    if reference.source is not None and reference.source not in parent.spec.offers:
        field = reference.field.rpartition(".")[0] + ".source"
        message = f"is not what job {reference.job} offers"
        remedy = nearest(reference.source, parent.spec.offers)
        return Problem(field=field, value=reference.source, message=message, remedy=remedy)
    if reference.same_model and not _same(parent.spec.model, spec.model, settings):
        message = f"is a job on another model, {parent.spec.model.name}"
        return problem(message, f"Give one on {spec.model.name}.")
    return None


def _same(one: ModelSpec, other: ModelSpec, settings: Settings) -> bool:
    if one.is_local and other.is_local:
        folders = {allowed_path("model.name", m.name, settings) for m in (one, other)}
        return len(folders) == 1
    return one == other
