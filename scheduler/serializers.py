"""Jobs, studies and checks as JSON objects: the same from the API and from `--json`.

Times are seconds since 1970 by the database's clock. docs/api.md says what the keys mean.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads import studies
from db.reads.jobs import Job
from jobs.inputs.models import ModelFacts
from jobs.inputs.understood import Understood
from scheduler.findings import findings
from scheduler.submission.study import CheckedStudy
from scheduler.submission.submit import Checked


def job_title(job: Job) -> str:
    """The job's name and the beginning of a text of its own, or else its model and data."""
    excerpt = " ".join((job.excerpt or "").split())
    if named := ": ".join(filter(None, (job.name, excerpt))):
        return named
    model, data = job.spec.get("model", {}), job.spec.get("data", {})
    source = data.get("path") or data.get("dataset")
    if data.get("inline"):
        source = "a text" if job.examples == 1 else f"{job.examples:,} texts"
    return f"{_last(model.get('name', 'model'))} on {_last(source or 'data')}"


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1] or path


_AS_THEY_ARE = (
    *("id", "kind", "name", "user", "control", "final", "priority", "queue", "examples"),
    *("examples_done", "examples_failed", "waiting", "labels", "outputs", "layers", "heads"),
    *("spec", "spec_hash", "data_fingerprint", "model_fingerprint", "result_hash", "error"),
    *("warning", "deadline_at", "keep_days", "keep_details_days", "purged_at", "plan_at"),
    *("plan_tries", "created_at", "started_at", "finished_at"),
)
"""Attributes of a job that are keys of its JSON."""


def job_json(job: Job) -> dict[str, Any]:
    """A job."""
    return {
        **{name: getattr(job, name) for name in _AS_THEY_ARE},
        "title": job_title(job),
        "state": job.state.value,
        "examples_computed": job.computed,
        "examples_per_second": job.rate,
        "eta_seconds": job.eta,
        "elapsed_seconds": job.elapsed,
        "understood": _understood_json(job.understood),
        "parents": [parent for parent, _ in job.parents],
    }


def study_json(database: Database, study: int) -> dict[str, Any]:
    """A study, its jobs by step, and what those that have succeeded found. Raises NotFoundError."""
    found = studies.get_study(database, study)
    jobs = {step: job_reads.get_job(database, number) for step, number in found.steps.items()}
    return {
        "id": found.id,
        "name": found.name,
        "user": found.user,
        "created_at": found.created_at,
        "state": found.state.value,
        "final": found.final,
        "steps": {step: job_json(job) for step, job in jobs.items()},
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
