"""A job's progress as JSON: what the API sends, what the event stream sends, what pages show."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs import formatting
from jobs.kinds import SPECS
from jobs.specs.base import DataSpec, ModelSpec


def job_json(job: Job) -> dict[str, Any]:
    """A job as the API sends it."""
    return {
        "id": job.id,
        "kind": job.kind,
        "name": job.name,
        "user": job.user,
        "state": job.state.value,
        "control": job.control,
        "final": job.final,
        "priority": job.priority,
        "queue": job.queue,
        "examples": job.examples,
        "examples_done": job.examples_done,
        "examples_failed": job.examples_failed,
        "examples_computed": job.computed,
        "examples_per_second": job.rate,
        "eta_seconds": job.eta,
        "elapsed_seconds": job.elapsed,
        "labels": list(job.labels),
        "layers": job.layers,
        "heads": job.heads,
        "spec": job.spec,
        "spec_hash": job.spec_hash,
        "data_fingerprint": job.data_fingerprint,
        "model_fingerprint": job.model_fingerprint,
        "result_hash": job.result_hash,
        "error": job.error,
        "deadline_at": job.deadline_at,
        "keep_days": job.keep_days,
        "keep_details_days": job.keep_details_days,
        "purged_at": job.purged_at,
        "plan_at": job.plan_at,
        "plan_tries": job.plan_tries,
        "parents": [parent for parent, _ in job.parents],
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def progress_json(database: Database, job_id: int) -> dict[str, Any]:
    """What changes while a job runs, with the words that a page shows. Raises NotFoundError."""
    job = job_reads.get_job(database, job_id)
    return {
        "id": job.id,
        "state": job.state.value,
        "control": job.control,
        "final": job.final,
        "examples": job.examples,
        "examples_done": job.examples_done,
        "examples_failed": job.examples_failed,
        "examples_computed": job.computed,
        "examples_per_second": job.rate,
        "eta_seconds": job.eta,
        "waiting": job.waiting,
        "plan_at": job.plan_at,
        "plan_tries": job.plan_tries,
        "shards": job_reads.shard_counts(database, job_id),
        "text": progress_words(job),
    }


def progress_words(job: Job) -> dict[str, str]:
    """Progress in words, keyed as the pages' data-live attributes."""
    done = job.computed / job.examples if job.examples else None
    return {
        "state": job.state.value,
        "computed": formatting.count(job.computed),
        "share": formatting.percent(done, 0),
        "rate": formatting.rate(job.rate),
        "eta": formatting.duration(job.eta),
        "elapsed": formatting.duration(job.elapsed),
        "failed": formatting.count(job.examples_failed),
    }


def default_name(job: Job) -> str:
    """The job's name, or what it does in few words."""
    if job.name:
        return job.name
    model, data = job.spec.get("model", {}), job.spec.get("data", {})
    source = data.get("path") or data.get("dataset") or "data"
    return f"{_last(model.get('name', 'model'))} on {_last(source)}"


def spec_rows(spec: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The specification as (name, value, is the default) of what is set, for reading."""
    rows: list[tuple[str, str, bool]] = []
    # Stored with sorted keys; read in the order in which they are documented.
    for name, field in SPECS[spec.get("kind", "attribution")].model_fields.items():
        value = spec.get(name)
        if isinstance(value, dict):
            inner = (ModelSpec if name == "model" else DataSpec).model_fields
            rows += [
                (f"{name}.{key}", _shown(value[key]), key in _ZERO and value[key] == 0)
                for key in inner
                if value.get(key) is not None
            ]
        elif value is not None and name not in ("version", "kind"):
            rows.append((name, _shown(value), field.default == value))
    return rows


_ZERO = ("offset", "seed")
"""Parts of the data specification whose default is 0."""


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(
            " ".join(map(str, part.values())) if isinstance(part, dict) else str(part)
            for part in value
        )
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _last(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1] or path
