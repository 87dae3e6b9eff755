"""The list of jobs, a job's page and its actions, workers and help."""

from __future__ import annotations

import json
import math

from flask import Blueprint, Response, abort, render_template, request, url_for

from db.ops import fleet
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.kinds import SPECS
from jobs.states import SHOWN_JOB_STATES, Control, JobState, ShardState
from scheduler.serializers import job_title
from scheduler.submission.control import change, control
from webui import presentation
from webui.context import (
    choice,
    clean,
    database,
    integer,
    redirect,
    settings,
    words,
)
from webui.kinds import PAGES
from webui.pages import notices
from webui.polling import conditional, job_version, jobs_version

PAGE = 25
SHARD_PAGE = 20
ACTIONS = ("pause", "resume", "cancel", "purge", "delete")
STATES = tuple(state.value for state in SHOWN_JOB_STATES)

blueprint = Blueprint("jobs", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"job_title": job_title, "progress_words": presentation.progress_words}


def _asked_for() -> tuple[dict[str, str], int]:
    """The filters of the list of jobs, and its page."""
    filters = {"state": choice("state", STATES), "contains": words("q")}
    return filters, integer("page", 1, low=1, high=1_000_000)


def _list_version() -> object:
    filters, page = _asked_for()
    ids = job_reads.list_ids(database(), **filters, limit=PAGE, offset=(page - 1) * PAGE)
    return jobs_version(ids)


@blueprint.get("/jobs")
def moved() -> Response:
    """Lead an address that people guess to the list of jobs."""
    query = request.query_string.decode(errors="replace")
    return redirect(f"{url_for('.index')}?{query}" if query else url_for(".index"))


@blueprint.get("/")
@conditional(_list_version)
def index() -> str:
    """The list of jobs."""
    filters, page = _asked_for()
    opened = database()
    total = job_reads.count_jobs(opened, **filters)
    found = job_reads.list_jobs(opened, **filters, limit=PAGE, offset=(page - 1) * PAGE)
    return render_template(
        "jobs.html",
        jobs=found,
        reasons=notices.waits(*found),
        total=total,
        page=page,
        pages=max(1, math.ceil(total / PAGE)),
        state=filters["state"],
        states=STATES,
        q=filters["contains"],
        live=any(not job.final for job in found) or not found,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>")
@conditional(job_version)
def show(job_id: int) -> str:
    """A job: progress, results, shards."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    kept = settings().retention
    return render_template(
        "job.html",
        job=job,
        allowed=_allowed(job),
        delete_at=job.ends_at(kept.keep_days, job.keep_days),
        purge_at=None
        if job.purged_at
        else job.ends_at(kept.keep_details_days, job.keep_details_days),
        spec_rows=presentation.spec_rows(job.spec),
        spec_json=json.dumps(job.spec, indent=2, ensure_ascii=False),
        children=job_reads.list_children(opened, job.id),
        **_shards(job),
        **notices.log_section(job),
        **_results(job),
    )


@blueprint.post("/jobs/<int(max=2147483647):job_id>/<action>")
def act(job_id: int, action: str) -> Response:
    """Pause, resume, cancel or delete, then back to the page it was asked on."""
    if action not in ACTIONS:
        abort(404)
    control(database(), job_id, action)
    there = url_for(".index") if action == "delete" else url_for(".show", job_id=job_id)
    return redirect(there)


@blueprint.post("/jobs/<int(max=2147483647):job_id>/change")
def change_job(job_id: int) -> Response:
    """Change priority and days to keep; an empty field of days is as the settings say."""
    given = {name: clean(value).strip() for name, value in request.form.items()}
    changes = {name: given[name] or None for name in _DAYS if name in given}
    if given.get("priority"):
        changes["priority"] = given["priority"]
    change(database(), job_id, changes)
    return redirect(url_for(".show", job_id=job_id) + "#spec")


_DAYS = ("keep_details_days", "keep_days")


@blueprint.get("/workers")
def workers() -> str:
    """Workers and schedulers, alive and dead."""
    found = fleet.list_workers(database(), settings())
    return render_template(
        "workers.html",
        workers=found,
        schedulers=fleet.list_schedulers(database(), settings()),
        alive=sum(worker.alive for worker in found),
    )


@blueprint.get("/help")
def help_page() -> str:
    """The meaning of the numbers."""
    return render_template("help.html")


@blueprint.get("/about")
def about() -> Response:
    """Redirect to the help page."""
    return redirect(url_for(".help_page"), 301)


def _allowed(job: Job) -> tuple[str, ...]:
    if job.final:
        return ("delete",) if job.purged_at else ("purge", "delete")
    if job.state in (JobState.CANCELLING, JobState.STOPPING) or job.control == Control.CANCEL:
        return ()
    if job.state is JobState.FINALIZING:
        return ("cancel",)
    return ("resume" if job.control == Control.PAUSE else "pause", "cancel")


def _shards(job: Job) -> dict[str, object]:
    state = choice("shards", tuple(state.value for state in ShardState))
    page = integer("shard_page", 1, low=1, high=1_000_000)
    counts = job_reads.shard_counts(database(), job.id)
    total = counts.get(state, 0) if state else sum(counts.values())
    found = job_reads.list_shards(
        database(), job.id, state=state, limit=SHARD_PAGE, offset=(page - 1) * SHARD_PAGE
    )
    return {
        "shard_list": found,
        "shard_counts": counts,
        "shard_state": state,
        "shard_page": page,
        "shard_pages": max(1, math.ceil(total / SHARD_PAGE)),
    }


def _results(job: Job) -> dict[str, object]:
    page = PAGES[job.kind]
    anchors = tuple(name for name in page.anchors if not (job.purged_at and name == "examples"))
    return {
        "exports": page.exports,
        "anchors": anchors,
        "question": page.question,
        "ranks_heads": bool(SPECS[job.kind].ranking_sources),
        **page.section(job),
    }
