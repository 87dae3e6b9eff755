"""The list of jobs, a job's page and its actions, and help."""

from __future__ import annotations

import json
import math

from flask import Blueprint, Response, abort, render_template, request, url_for

from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.kinds import SPECS
from jobs.people import highest_priority
from jobs.specs.submission import Changes
from jobs.states import Control, JobState, ShardState
from jobs.titles import data_name, model_name
from scheduler.serializers import job_title, progress_words
from scheduler.specifications import spec_rows
from scheduler.submission.control import change, control
from scheduler.submission.many import can_be_retried, retry
from webui.context import (
    choice,
    clean,
    database,
    integer,
    redirect,
    settings,
)
from webui.forms import controls
from webui.kinds import PAGES
from webui.pages.jobs import many_jobs, notices
from webui.pages.jobs.job_list import JobList
from webui.polling import conditional, job_version
from webui.terms import glossary

SHARD_PAGE = 20
ACTIONS = ("pause", "resume", "cancel", "retry", "purge", "delete")

blueprint = Blueprint("jobs", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"job_title": job_title, "progress_words": progress_words}


@blueprint.get("/jobs")
def moved() -> Response:
    """Lead an address that people guess to the list of jobs."""
    query = request.query_string.decode(errors="replace")
    return redirect(f"{url_for('.index')}?{query}" if query else url_for(".index"))


@blueprint.get("/")
@conditional(lambda: JobList.asked_for().version())
def index() -> str:
    """The list of jobs."""
    return render_template("jobs.html", **JobList.asked_for().values())


@blueprint.post("/jobs/actions")
def act_on_many() -> str:
    """Pause, resume, cancel, retry, change or delete the jobs that were ticked."""
    return many_jobs.act_on_ticked()


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
        short_model=model_name(job.spec),
        short_data=data_name(job.spec),
        allowed=_allowed(job),
        highest_priority=max(job.priority, highest_priority()),
        delete_at=job.ends_at(kept.keep_days, job.keep_days),
        purge_at=None
        if job.purged_at
        else job.ends_at(kept.keep_details_days, job.keep_details_days),
        spec_rows=spec_rows(job.spec),
        spec_json=json.dumps(job.spec, indent=2, ensure_ascii=False),
        children=job_reads.list_children(opened, job.id),
        **_shards(job),
        **notices.log_section(job),
        **_results(job),
    )


@blueprint.post("/jobs/<int(max=2147483647):job_id>/<action>")
def act(job_id: int, action: str) -> Response:
    """Pause, resume, cancel, retry or delete, then back to the page, or on to the new job's."""
    if action not in ACTIONS:
        abort(404)
    if action == "retry":
        job = job_reads.get_job(database(), job_id)
        return redirect(url_for(".show", job_id=retry(job, settings(), database())))
    control(database(), job_id, action)
    there = url_for(".index") if action == "delete" else url_for(".show", job_id=job_id)
    return redirect(there)


@blueprint.post("/jobs/<int(max=2147483647):job_id>/change")
def change_job(job_id: int) -> Response:
    """Change priority and days to keep; an empty field of days is as the settings say."""
    given = {name: clean(value) for name, value in request.form.items()}
    changes = dict.fromkeys(name for name in _DAYS if name in given)
    change(database(), job_id, changes | controls.read(Changes, given, ("priority", *_DAYS)))
    return redirect(url_for(".show", job_id=job_id) + "#spec")


_DAYS = ("keep_details_days", "keep_days")


@blueprint.get("/help")
def help_page() -> str:
    """The meaning of the numbers, and of every term."""
    return render_template("help.html", glossary=glossary())


@blueprint.get("/about")
def about() -> Response:
    """Redirect to the help page."""
    return redirect(url_for(".help_page"), 301)


def _allowed(job: Job) -> tuple[str, ...]:
    if job.final:
        again = ("retry",) if can_be_retried(job) else ()
        return (*again, "delete") if job.purged_at else (*again, "purge", "delete")
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
        "kind_title": page.title,
        "exports": page.exports,
        "anchors": anchors,
        "question": page.question,
        "ranks_heads": bool(SPECS[job.kind].ranking_sources),
        **page.section(job),
    }
