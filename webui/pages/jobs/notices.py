"""The log of a job, and the notices about missing processes on every page."""

from __future__ import annotations

from collections.abc import Generator

from flask import Blueprint, Response, render_template, url_for

from db.ops import conditions, fleet, logs
from db.ops.conditions import Notice
from db.reads import jobs as job_reads
from db.reads import status
from db.reads.jobs import Job, Shard
from db.reads.status import Status
from jobs.processes.logs import LEVELS
from webui.context import attachment, choice, database, optional_integer, settings, words

SHOWN = 200
CHOICES = ("info", "warning", "error")

blueprint = Blueprint("watch", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"system_notices": _notices, "shard_condition": _condition, "statuses": statuses}


def _notices() -> list[Notice]:
    return conditions.notices(database(), settings())


def _condition(shard: Shard) -> str | None:
    return fleet.shard_condition(shard, settings())


@blueprint.get("/notices")
def notices() -> str:
    """The notices alone, with which pages renew theirs."""
    return render_template("notices.html")


@blueprint.get("/jobs/<int(max=2147483647):job_id>/waiting")
def waiting(job_id: int) -> str:
    """The reason a job waits, with which its page renews that."""
    return render_template("waiting.html", job=job_reads.get_job(database(), job_id))


def statuses(*jobs: Job) -> dict[int, Status]:
    """The status of jobs, by number."""
    return status.statuses(database(), jobs, settings())


def log_section(job: Job) -> dict[str, object]:
    """The values of `job_log.html`: the newest lines, or those before a place."""
    level, shard = choice("log_level", LEVELS), optional_integer("log_shard")
    before = words("log_before", longest=400)
    lines = logs.newest_lines(
        database(), job.id, level=level, shard=shard, before=before, limit=SHOWN
    )
    # Where they came first is where the page before ends, whenever they were logged.
    first = min(lines, key=lambda line: (line.stored_at, line.source, line.number), default=None)
    older = None
    if first is not None and len(lines) == SHOWN:
        older = url_for(
            "jobs.show",
            job_id=job.id,
            log_level=level or None,
            log_shard=shard,
            log_before=first.cursor,
            _anchor="log",
        )
    return {
        "log_lines": lines,
        "log_level": level,
        "log_levels": CHOICES,
        "log_shard": shard,
        "log_before": before,
        "log_older": older,
    }


@blueprint.get("/jobs/<int(max=2147483647):job_id>/log.txt")
def download(job_id: int) -> Response:
    """The whole log as plain text, streamed; the page's filters apply."""
    job_reads.get_job(database(), job_id)
    return whole_log(job_id, choice("log_level", LEVELS), optional_integer("log_shard"))


def whole_log(job_id: int, level: str, shard: int | None) -> Response:
    """The log of a job as plain text, streamed."""
    opened = database()

    def lines() -> Generator[str, None, None]:
        for part in logs.whole_log(opened, job_id, level=level, shard=shard):
            yield "".join(f"{line.as_text()}\n" for line in part)

    return attachment(lines(), "text/plain", f"job-{job_id}.log")
