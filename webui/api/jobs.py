"""Jobs in the JSON API: their submission, control, progress, shards and log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, url_for

from db.ops import fleet, logs
from db.reads import jobs as job_reads
from db.reads.waiting import reasons
from jobs.errors import refuse
from jobs.logs import LEVELS
from jobs.states import SHOWN_JOB_STATES
from scheduler.serializers import checked_json, job_json
from scheduler.submission.control import change, control
from scheduler.submission.submit import check, submit
from webui.api.requests import MOST_ROWS, limit_and_offset, read_json
from webui.context import choice, database, integer, optional_integer, settings, words
from webui.polling import conditional, job_version
from webui.presentation import live_json

blueprint = Blueprint("job_api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs")
def list_jobs() -> Response:
    """A page of jobs, newest first."""
    state, contains = choice("state", tuple(s.value for s in SHOWN_JOB_STATES)), words("q")
    limit, offset = limit_and_offset()
    opened = database()
    found = job_reads.list_jobs(opened, state=state, contains=contains, limit=limit, offset=offset)
    total = job_reads.count_jobs(opened, state=state, contains=contains)
    return jsonify({"jobs": [job_json(job) for job in found], "total": total})


@blueprint.post("/jobs")
def create_job() -> tuple[Response, int]:
    """Submit a job; where one is the same work, or has the same results, that one: status 200."""
    checked = check(read_json(), settings(), database())
    job_id = submit(checked, database())
    body = {
        "job": job_json(job_reads.get_job(database(), job_id)),
        "estimate": asdict(checked.estimate),
        "url": url_for("jobs.show", job_id=job_id),
        "same_as": checked.same_as,
    }
    return jsonify(body), 200 if job_id in (checked.existing_job, checked.same_as) else 201


@blueprint.post("/check")
def check_job() -> Response:
    """Check a submission and estimate it; nothing is written."""
    return jsonify(checked_json(check(read_json(), settings(), database())))


@blueprint.get("/jobs/<int(max=2147483647):job_id>")
@conditional(job_version)
def get_job(job_id: int) -> Response:
    """A job with its progress; 304 where it has not changed since If-None-Match."""
    return jsonify(live_json(database(), job_id))


@blueprint.get("/jobs/<int(max=2147483647):job_id>/why")
def explain_waiting(job_id: int) -> Response:
    """Why a job waits: `cause` and `message`, both null for one that runs or has ended."""
    job = job_reads.get_job(database(), job_id)
    found = reasons(database(), [job], settings()).get(job_id)
    return jsonify({"cause": found and found.cause, "message": found and found.message})


@blueprint.patch("/jobs/<int(max=2147483647):job_id>")
def change_job(job_id: int) -> Response:
    """Change the priority of an unfinished job, or how long a job is kept."""
    change(database(), job_id, read_json())
    return jsonify(job_json(job_reads.get_job(database(), job_id)))


@blueprint.delete("/jobs/<int(max=2147483647):job_id>")
def delete_job(job_id: int) -> Response:
    """Delete a final job and its results."""
    control(database(), job_id, "delete")
    return jsonify({"deleted": job_id})


@blueprint.post("/jobs/<int(max=2147483647):job_id>/<action>")
def control_job(job_id: int, action: str) -> Response:
    """Pause, resume, cancel, or purge what there is per example."""
    if action == "delete":
        raise refuse("action", action, "is a DELETE request", f"DELETE /api/v1/jobs/{job_id}")
    control(database(), job_id, action)
    return jsonify(job_json(job_reads.get_job(database(), job_id)))


@blueprint.get("/jobs/<int(max=2147483647):job_id>/shards")
def list_shards(job_id: int) -> Response:
    """Shards with their attempts."""
    job_reads.get_job(database(), job_id)
    limit, offset = limit_and_offset()
    found = job_reads.list_shards(database(), job_id, limit=limit, offset=offset)
    return jsonify({"shards": [_shard_json(shard) for shard in found]})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/log")
def read_log(job_id: int) -> Response:
    """Lines of the job's log in the order in which they came; `after` goes on from there."""
    job_reads.get_job(database(), job_id)
    after = words("after", longest=400)
    found = logs.lines_after(
        database(),
        job_id,
        level=choice("level", LEVELS),
        shard=optional_integer("shard"),
        after=after,
        limit=integer("limit", 200, low=1, high=MOST_ROWS),
    )
    next_after = found[-1].cursor if found else after or None
    return jsonify({"lines": [line.as_json() for line in found], "next_after": next_after})


def _shard_json(shard: job_reads.Shard) -> dict[str, Any]:
    condition = fleet.shard_condition(shard, settings())
    values = {key: value for key, value in asdict(shard).items() if key != "heartbeat_seconds"}
    return {**values, "condition": condition}
