"""Jobs in the JSON API: their submission, control, progress, shards and log."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, url_for

from db.ops import fleet, logs
from db.reads import job_list
from db.reads import jobs as job_reads
from db.reads.job_list import TEXTS, Cursor, JobFilter, Order
from db.reads.jobs import Shard
from db.reads.status import status_of
from jobs.people import fold
from scheduler.serializers import checked_json, job_json, jobs_json, live_json, submitted_json
from scheduler.submission.control import change, control
from scheduler.submission.many import ManyJobs
from scheduler.submission.submit import check, submit
from webui.accounts.person import own_name
from webui.api.models.jobs import (
    DeletedAnswer,
    FacetsAnswer,
    JobAnswer,
    JobPage,
    JobQuery,
    LiveJobAnswer,
    LogFilter,
    LogPage,
    LogQuery,
    ManyAnswer,
    ManyBody,
    ShardAnswer,
    ShardPage,
    ShardQuery,
    WaitingAnswer,
)
from webui.api.models.submissions import (
    ChangesBody,
    CheckAnswer,
    SubmissionBody,
    SubmittedAnswer,
)
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.operations import operation, streams
from webui.pages.jobs import many_jobs, notices
from webui.polling import conditional, job_version, jobs_version, note_version

TAG = "Jobs"
CONFLICT = (HTTPStatus.CONFLICT,)

blueprint = Blueprint("job_api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs")
@operation(TAG, JobPage)
def list_jobs(query: JobQuery) -> JobPage:
    """List jobs: searched, filtered and sorted, with their counts by what else can be chosen."""
    opened, order = database(), Order.parse(query.sort)
    wanted = JobFilter(
        state=query.state or "",
        phase=query.phase or "",
        kind=query.kind or "",
        user=own_name() if query.mine else fold(query.user),
        model=query.model,
        quick=query.quick,
        contains=query.q,
    )
    at = cursors.place(query.cursor, texts=order.by in TEXTS)
    places = job_list.list_places(
        opened,
        wanted,
        order,
        at and Cursor(value=at[0], job=at[1]),
        query.limit + 1,
        query.offset,
    )
    shown, following = cursors.cut(places, query.limit, lambda one: (one.value, one.job))
    jobs = job_reads.get_jobs(opened, [place.job for place in shown])
    facets = vars(job_list.read_facets(opened, wanted))
    note_version((jobs_version([place.job for place in shown]), facets, following))
    return JobPage(
        total=facets.pop("total"),
        facets=FacetsAnswer(**facets),
        jobs=[JobAnswer(**one) for one in jobs_json(opened, jobs, settings())],
        next=following,
    )


@blueprint.post("/jobs")
@operation(TAG, SubmittedAnswer, statuses=(HTTPStatus.CREATED, HTTPStatus.OK), creates=True)
def create_job(json: SubmissionBody) -> tuple[SubmittedAnswer, int]:
    """Submit a job.

    Status 200, and that job, where an unfinished one is the same work, or a finished one has the
    same results; `"again": true` computes those once more.
    """
    checked = check(json.raw, settings(), database())
    job_id = submit(checked, database())
    job = job_reads.get_job(database(), job_id)
    answer = SubmittedAnswer(
        **submitted_json(checked, job, status_of(database(), job, settings())),
        url=url_for("jobs.show", job_id=job_id),
    )
    return answer, 200 if job_id in (checked.existing_job, checked.same_as) else 201


@blueprint.post("/check")
@operation(TAG, CheckAnswer)
def check_job(json: SubmissionBody) -> CheckAnswer:
    """Check a submission and estimate it; nothing is written."""
    return CheckAnswer(**checked_json(check(json.raw, settings(), database())))


@blueprint.get("/jobs/<int(max=2147483647):job_id>")
@operation(TAG, LiveJobAnswer)
@conditional(job_version)
def get_job(job_id: int) -> LiveJobAnswer:
    """Get a job with its progress.

    To follow it, ask once a second until `final` is true, with the `ETag` of the last answer as
    `If-None-Match`: 304 as long as nothing has changed, at the cost of two small queries.
    """
    return LiveJobAnswer(**live_json(database(), job_id, settings()))


@blueprint.get("/jobs/<int(max=2147483647):job_id>/why")
@operation(TAG, WaitingAnswer)
def explain_waiting(job_id: int) -> WaitingAnswer:
    """Tell why a job waits."""
    job = job_reads.get_job(database(), job_id)
    found = status_of(database(), job, settings()).reason
    return WaitingAnswer(cause=found and found.cause, message=found and found.message)


@blueprint.patch("/jobs/<int(max=2147483647):job_id>")
@operation(TAG, JobAnswer, errors=CONFLICT)
def change_job(job_id: int, json: ChangesBody) -> JobAnswer:
    """Change the priority of an unfinished job, or how long a job is kept."""
    change(database(), job_id, json.model_dump(include=json.model_fields_set))
    return _job(job_id)


@blueprint.delete("/jobs/<int(max=2147483647):job_id>")
@operation(TAG, DeletedAnswer, errors=CONFLICT)
def delete_job(job_id: int) -> DeletedAnswer:
    """Delete a job that has ended, and its results."""
    control(database(), job_id, "delete")
    return DeletedAnswer(deleted=job_id)


@blueprint.post("/jobs/<int(max=2147483647):job_id>/<any(pause, resume, cancel, purge):action>")
@operation(TAG, JobAnswer, errors=CONFLICT)
def control_job(job_id: int, action: str) -> JobAnswer:
    """Pause, resume or cancel a job, or purge its details: texts and rows per example."""
    control(database(), job_id, action)
    return _job(job_id)


@blueprint.post("/jobs/actions")
@operation(TAG, ManyAnswer, creates=True)
def act_on_jobs(json: ManyBody) -> ManyAnswer:
    """Pause, resume, cancel, retry, change the priority of, purge or delete many jobs.

    Each answers for itself: `done` is false where a job does not allow it, or is another person's,
    and `message` says why. `retry` submits jobs that failed or were cancelled once more.
    """
    asked = ManyJobs(action=json.action, jobs=json.jobs, priority=json.priority)
    return ManyAnswer(outcomes=many_jobs.carry_out(asked))


@blueprint.get("/jobs/<int(max=2147483647):job_id>/shards")
@operation(TAG, ShardPage)
def list_shards(job_id: int, query: ShardQuery) -> ShardPage:
    """List the shards of a job with their attempts: failed ones first, then leased ones."""
    job_reads.get_job(database(), job_id)
    found = job_reads.list_shards(
        database(),
        job_id,
        state=query.state or "",
        after=cursors.numbers(query.cursor),
        limit=query.limit + 1,
        offset=query.offset,
    )
    shown, following = cursors.cut(
        found, query.limit, lambda one: (job_reads.shard_order(one.state), one.shard)
    )
    return ShardPage(shards=[_shard(shard) for shard in shown], next=following)


@blueprint.get("/jobs/<int(max=2147483647):job_id>/log")
@operation(TAG, LogPage)
def read_log(job_id: int, query: LogQuery) -> LogPage:
    """List lines of a job's log in the order in which they came.

    `next` is null once there are no more yet; `follow` goes on from there later.
    """
    job_reads.get_job(database(), job_id)
    after = cursors.text(query.cursor) or query.after
    read = logs.lines_so_far if query.newest else logs.lines_after
    found = read(
        database(),
        job_id,
        level=query.level or "",
        shard=query.shard,
        after=after,
        limit=query.limit,
    )
    last = found[-1].cursor if found else after
    following = cursors.next_page(last) if last else cursors.first_page()
    return LogPage(
        lines=[line.as_json() for line in found],
        next=following if len(found) == query.limit else None,
        follow=following,
        next_after=last or None,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/log.txt")
@operation(TAG, media_types=["text/plain"])
@streams
def download_log(job_id: int, query: LogFilter) -> Response:
    """Download the whole log of a job as text."""
    job_reads.get_job(database(), job_id)
    return notices.whole_log(job_id, query.level or "", query.shard)


def _job(job_id: int) -> JobAnswer:
    job = job_reads.get_job(database(), job_id)
    return JobAnswer(**job_json(job, status_of(database(), job, settings())))


def _shard(shard: Shard) -> ShardAnswer:
    values = {key: value for key, value in vars(shard).items() if key != "heartbeat_seconds"}
    return ShardAnswer(**values, condition=fleet.shard_condition(shard, settings()))
