"""Jobs, studies and checks as JSON objects: the same from the API and from `--json`.

Times are seconds since 1970 by the database's clock. docs/howto/api.md says what the keys mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from db.reads.status import Status, status_of, statuses
from jobs import formatting
from jobs.inputs.data.understood import Understood
from jobs.settings import Settings
from jobs.titles import OWN_TEXTS, data_name, model_name

if TYPE_CHECKING:
    from db.ops.notifications import Notification, Recipient
    from db.results.matrices import StoredAt
    from jobs.inputs.models.configuration import ModelFacts
    from scheduler.submission.matrices import Found, HeadOnExample
    from scheduler.submission.study import CheckedStudy, Study
    from scheduler.submission.submit import Checked


def matrix_json(where: HeadOnExample, found: Found) -> dict[str, Any]:
    """A head's matrices on an example, as far as they are known."""
    return {
        "head": where.name,
        "state": found.state.value,
        "job": found.job,
        "message": found.message,
        "tokens": where.example.tokens,
        "attention": None if found.attention is None else found.attention.tolist(),
        "attribution": None if found.attribution is None else found.attribution.tolist(),
    }


def stored_matrix_json(one: StoredAt) -> dict[str, Any]:
    """The place of a matrix that is stored."""
    return {
        "example": one.example,
        "name": one.name,
        "layer": one.layer,
        "attention_type": one.attention_type,
        "head": one.head,
    }


class Titled(Protocol):
    """Facts of a job that make its title."""

    @property
    def name(self) -> str: ...

    @property
    def excerpt(self) -> str | None: ...

    @property
    def spec(self) -> dict[str, Any]: ...

    @property
    def examples(self) -> int: ...


def job_title(job: Titled) -> str:
    """The job's name and the beginning of a text of its own, or else its model and data."""
    excerpt = " ".join((job.excerpt or "").split())
    if named := ": ".join(filter(None, (job.name, excerpt))):
        return named
    return f"{model_title(job)} on {data_title(job)}"


def model_title(job: Titled) -> str:
    """The last part of the model's name."""
    return model_name(job.spec) or "model"


def data_title(job: Titled) -> str:
    """The last part of the data's name; the number of texts that came with the submission."""
    source = data_name(job.spec) or "data"
    if source == OWN_TEXTS:
        return "a text" if job.examples == 1 else f"{job.examples:,} texts"
    return source


_AS_THEY_ARE = (
    *("id", "kind", "name", "user", "control", "final", "priority", "queue", "quick"),
    *("model_name", "data_name", "examples", "examples_done", "examples_failed", "waiting"),
    *("labels", "outputs", "layers", "heads"),
    *("spec", "spec_hash", "data_fingerprint", "model_fingerprint", "result_hash", "error"),
    *("warning", "deadline_at", "keep_days", "keep_details_days", "purged_at", "plan_at"),
    *("plan_tries", "created_at", "started_at", "finished_at"),
)
"""Attributes of a job that are keys of its JSON."""


def job_json(job: Job, status: Status) -> dict[str, Any]:
    """A job, and what it does now."""
    left = job.remaining
    return {
        **{name: getattr(job, name) for name in _AS_THEY_ARE},
        "title": job_title(job),
        "state": job.state.value,
        "examples_computed": job.computed,
        "examples_per_second": job.rate,
        "phase": status.phase.value,
        "status": status.words,
        "queue_position": status.reason and status.reason.position,
        "hosts": list(status.hosts),
        "eta_seconds": left and left.middle,
        "eta_low_seconds": left and left.low,
        "eta_high_seconds": left and left.high,
        "elapsed_seconds": job.elapsed,
        "compute_seconds": job.compute,
        "understood": _understood_json(job.understood),
        "parents": [parent for parent, _ in job.parents],
    }


def live_json(database: Database, job_id: int, settings: Settings) -> dict[str, Any]:
    """A job as the API sends it, with its shards by state and its progress as text.

    Raises NotFoundError.
    """
    job = job_reads.get_job(database, job_id)
    status = status_of(database, job, settings)
    return {
        **job_json(job, status),
        "shards": job_reads.shard_counts(database, job_id),
        "text": {"state": status.words, **progress_words(job)},
    }


def progress_words(job: Job) -> dict[str, str]:
    """Progress as text, keyed by the pages' data-live attributes."""
    done = job.computed / job.examples if job.examples else None
    left = job.remaining
    return {
        "computed": formatting.count(job.computed),
        "share": formatting.percent(done, 0),
        "rate": formatting.rate(job.rate),
        "eta": formatting.time_range(left.low, left.high) if left else formatting.MISSING,
        "elapsed": formatting.duration(job.elapsed),
        "failed": formatting.count(job.examples_failed),
    }


def jobs_json(database: Database, jobs: Sequence[Job], settings: Settings) -> list[dict[str, Any]]:
    """Several jobs, and what they do now."""
    found = statuses(database, jobs, settings)
    return [job_json(job, found[job.id]) for job in jobs]


def study_json(database: Database, study: int, settings: Settings) -> dict[str, Any]:
    """A study, its jobs by step, and what those that have succeeded found. Raises NotFoundError."""
    from db.reads import studies  # a list of jobs needs neither
    from scheduler.findings import findings

    found = studies.get_study(database, study)
    jobs = {step: job_reads.get_job(database, number) for step, number in found.steps.items()}
    return {
        "id": found.id,
        "name": found.name,
        "user": found.user,
        "created_at": found.created_at,
        "state": found.state.value,
        "final": found.final,
        "steps": dict(zip(jobs, jobs_json(database, list(jobs.values()), settings), strict=True)),
        "findings": findings(database, jobs),
    }


def checked_json(checked: Checked) -> dict[str, Any]:
    """The findings of a check, for the form and for API users."""
    facts, data = checked.facts, checked.data
    return {
        "estimate": asdict(checked.estimate),
        "existing_job": checked.existing_job,
        "same_as": checked.same_as,
        "model": _model_json(facts),
        "notes": list(checked.notes),
        "understood": _understood_json(checked.understood),
        "first_texts": None if data is None else list(data.first_texts),
    }


def submitted_json(checked: Checked, job: Job, status: Status) -> dict[str, Any]:
    """A job that was submitted, or the one that was taken instead."""
    return {
        "job": job_json(job, status),
        "estimate": asdict(checked.estimate),
        "existing_job": checked.existing_job,
        "same_as": checked.same_as,
        "notes": list(checked.notes),
    }


def submitted_study_json(checked: CheckedStudy, submitted: Study) -> dict[str, Any]:
    """A study that was submitted."""
    taken = set(checked.reused.values())
    return {
        "study": submitted.study,
        "jobs": submitted.jobs,
        "reused": {step: job for step, job in submitted.jobs.items() if job in taken},
        "notes": list(next(iter(checked.jobs.values())).notes),
    }


def recipient_json(one: Recipient) -> dict[str, Any]:
    """A recipient of notifications, without its address."""
    facts = dict(vars(one))
    return {"user": facts.pop("user_name"), **facts}


def notification_json(one: Notification) -> dict[str, Any]:
    """A notification and what became of it."""
    return {name: value for name, value in vars(one).items() if name != "now"}


def checked_study_json(checked: CheckedStudy) -> dict[str, Any]:
    """The findings of a study's check, for the form and for API users."""
    first = next(iter(checked.jobs.values()))
    return {
        "estimate": asdict(checked.estimate),
        "existing_job": None,
        "same_as": None,
        "jobs": {step: asdict(job.estimate) for step, job in checked.jobs.items()},
        "reused": checked.reused,
        "model": _model_json(first.facts),
        "notes": list(first.notes),
        "understood": _understood_json(first.understood),
    }


def _understood_json(found: Understood | None) -> dict[str, Any] | None:
    """The reading of the data; null for data that was not read yet."""
    return None if found is None else found.as_json()


def _model_json(facts: ModelFacts) -> dict[str, Any]:
    """The configuration of a model."""
    return {
        "family": facts.family,
        "labels": facts.labels,
        "outputs": facts.outputs,
        "layers": facts.layers,
        "heads": facts.heads,
        "max_length": facts.max_length,
    }
