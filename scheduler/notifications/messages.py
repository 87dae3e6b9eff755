"""The words of notifications: what ended, how, after how long, the first finding, and a link."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.ops.notifications import Delivery
from db.reads import jobs as job_reads
from db.reads import studies as study_reads
from db.reads.jobs import Job
from jobs.errors import NotFoundError
from jobs.formatting import counted, duration
from jobs.states import JobState
from scheduler.findings import job_findings
from scheduler.notifications.sending import Message
from scheduler.serializers import job_title

_VERBS = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
}


def message(database: Database, one: Delivery, address: str) -> Message | None:
    """The message of a notification; None if its job or study is gone.

    address: of the dashboard, without a slash at its end
    """
    kind, _, rest = one.event.partition(":")
    try:
        if kind == "job":
            return _of_job(database, int(rest), address)
        if kind == "study":
            return _of_study(database, int(rest), address)
    except NotFoundError:
        return None
    text = one.message or ""
    title = f"Headwise: {text.partition('. ')[0]}"
    payload = {"type": kind, "event": one.event, "title": title, "text": text, "url": address}
    return Message(
        title=title,
        body=f"{text}\n{address}",
        payload=payload,
    )


def _of_job(database: Database, job_id: int, address: str) -> Message:
    job = job_reads.get_job(database, job_id)
    name = job_title(job)[:120]
    url = f"{address}/jobs/{job_id}"
    took = None if job.started_at is None else (job.finished_at or job.now) - job.started_at
    title = f"Job {job_id} {_VERBS[job.state]}: {name}"
    lines = [_summary(job, took), *job_findings(database, job)[:1], *_problems(job)]
    return _message(title, lines, url, {"type": "job", "job": job_id, **_facts(job, took)})


def _of_study(database: Database, number: int, address: str) -> Message:
    study = study_reads.get_study(database, number)
    jobs = {step: job_reads.get_job(database, job) for step, job in study.steps.items()}
    ends = [job.finished_at for job in jobs.values() if job.finished_at is not None]
    took = max(ends, default=study.created_at) - study.created_at
    title = f"Study {number} {study.state.value}: {study.name[:120]}"
    failed = [step for step, state in study.states.items() if state is not JobState.SUCCEEDED]
    lines = [f"{counted(len(jobs), 'step')} in {duration(took)}."]
    lines += [found for job in jobs.values() for found in job_findings(database, job)[:1]]
    lines += [f"Not succeeded: {', '.join(failed)}."] if failed else []
    facts = {"state": study.state.value, "name": study.name, "user": study.user, "seconds": took}
    return _message(
        title, lines, f"{address}/studies/{number}", {"type": "study", "study": number, **facts}
    )


def _message(title: str, lines: list[str], url: str, facts: dict[str, Any]) -> Message:
    payload = {**facts, "title": title, "text": " ".join(lines), "url": url}
    return Message(title=title, body="\n".join([*lines, url]), payload=payload)


def _facts(job: Job, took: float | None) -> dict[str, Any]:
    return {
        "state": job.state.value,
        "kind": job.kind,
        "name": job.name,
        "user": job.user,
        "seconds": took,
        "examples": job.examples,
        "examples_failed": job.examples_failed,
        "error": job.error,
        "result_hash": job.result_hash,
    }


def _summary(job: Job, took: float | None) -> str:
    size = counted(job.examples, "example") if job.examples else "Its data was not loaded"
    return f"{size}." if took is None else f"{size} in {duration(took)}."


def _problems(job: Job) -> list[str]:
    problems = []
    if job.examples_failed:
        problems.append(f"{counted(job.examples_failed, 'example')} failed.")
    if job.error:
        problems.append(f"Reason: {job.error[:500]}")
    if job.warning:
        problems.append(f"Warning: {job.warning[:500]}.")
    return problems
