"""Jobs, and what a check found of a submission, as pages show them and the API sends them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs import formatting
from jobs.inputs.models import ModelFacts
from jobs.inputs.uploads import original_name
from jobs.kinds import SPECS
from jobs.specs.base import DataSpec, ModelSpec
from scheduler.serializers import job_json
from scheduler.submission.study import CheckedStudy
from scheduler.submission.submit import Checked


def live_json(database: Database, job_id: int) -> dict[str, Any]:
    """A job as the API sends it, with its shards by state and its progress as text.

    Raises NotFoundError.
    """
    job = job_reads.get_job(database, job_id)
    return {
        **job_json(job),
        "shards": job_reads.shard_counts(database, job_id),
        "text": progress_words(job),
    }


def checked_json(checked: Checked) -> dict[str, Any]:
    """The findings of a check, for the form and for API users."""
    facts, rows = checked.facts, checked.rows
    return {
        "estimate": asdict(checked.estimate),
        "existing_job": checked.existing_job,
        "same_as": checked.same_as,
        "model": _model_json(facts),
        "first_texts": None
        if not rows
        else [rows.text_a[0][:300]] + ([rows.text_b[0][:300]] if rows.text_b else []),
    }


def checked_study_json(checked: CheckedStudy) -> dict[str, Any]:
    """The findings of a study's check, for the form and for API users."""
    facts = next(iter(checked.jobs.values())).facts
    return {
        "estimate": asdict(checked.estimate),
        "existing_job": None,
        "same_as": None,
        "jobs": {step: asdict(job.estimate) for step, job in checked.jobs.items()},
        "reused": checked.reused,
        "model": _model_json(facts),
    }


def _model_json(facts: ModelFacts) -> dict[str, Any]:
    """The configuration of a model."""
    return {
        "family": facts.family,
        "labels": facts.labels,
        "layers": facts.layers,
        "heads": facts.heads,
        "max_length": facts.max_length,
    }


def progress_words(job: Job) -> dict[str, str]:
    """Progress as text, keyed by the pages' data-live attributes."""
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


def spec_rows(spec: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The keys of a specification that are set, as (name, value, whether it is the default)."""
    rows: list[tuple[str, str, bool]] = []
    # The stored keys are sorted; the documented order reads better.
    for name, field in SPECS[spec.get("kind", "attribution")].model_fields.items():
        value = spec.get(name)
        if isinstance(value, dict):
            inner = (ModelSpec if name == "model" else DataSpec).model_fields
            rows += [
                (
                    f"{name}.{key}",
                    _shown(_as_uploaded(value[key])),
                    key in _ZERO and value[key] == 0,
                )
                for key in inner
                if value.get(key) is not None
            ]
        elif value is not None and name not in ("version", "kind"):
            rows.append((name, _shown(value), field.default == value))
    return rows


_ZERO = ("offset", "seed")
"""Keys of `data` whose default is 0."""


def _as_uploaded(value: object) -> object:
    """The name that an uploaded file had, in place of its path."""
    name = original_name(value) if isinstance(value, str) else None
    return value if name is None else f"{name} (uploaded)"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(
            " ".join(map(str, part.values())) if isinstance(part, dict) else str(part)
            for part in value
        )
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
