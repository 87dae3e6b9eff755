"""The JSON API. Described for its users in docs/api.md."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, jsonify, request, url_for

from db.ops import fleet, logs
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.results import Example, Site
from db.results import rankings
from jobs.errors import NotFoundError, refuse
from jobs.inputs.data import allowed_path, preview
from jobs.inputs.models import ModelFacts
from jobs.inputs.uploads import save_upload
from jobs.logs import LEVELS
from jobs.states import SHOWN_JOB_STATES
from scheduler.serializers import job_json
from scheduler.submission.control import change, control
from scheduler.submission.submit import Checked, check, submit
from webui.context import choice, database, integer, optional_integer, settings, words
from webui.polling import conditional, job_version
from webui.serializers import live_json

MOST_ROWS = 500
MAX_JSON = 1 << 20

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs")
def list_jobs() -> Response:
    """A page of jobs, newest first."""
    state, contains = choice("state", tuple(s.value for s in SHOWN_JOB_STATES)), words("q")
    limit, offset = integer("limit", 50, low=1, high=MOST_ROWS), integer("offset", 0)
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
    limit, offset = integer("limit", 50, low=1, high=MOST_ROWS), integer("offset", 0)
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


@blueprint.get("/system")
def system() -> Response:
    """Schedulers, workers and the broker as they last said, and what jobs wait for."""
    opened, own = database(), settings()
    workers = Counter(worker.condition for worker in fleet.list_workers(opened, own))
    return jsonify(
        {
            "notices": [asdict(notice) for notice in fleet.notices(opened, own)],
            "schedulers": [asdict(one) for one in fleet.list_schedulers(opened, own)],
            "workers": dict(workers),
        }
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/heads")
def list_heads(job_id: int) -> Response:
    """Head importance; provisional while shards are missing."""
    job_reads.get_job(database(), job_id)
    sites = {site.site: site for site in results.list_sites(database(), job_id)}
    importance = results.get_importance(database(), job_id)
    rows = [{**asdict(h), **_place(sites[h.site])} for h in importance.heads if h.site in sites]
    rows.sort(key=lambda row: row["rank"])
    return jsonify({"heads": rows, "provisional": importance.provisional})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/rankings")
def list_rankings(job_id: int) -> Response:
    """The rankings by every source that the job offers; provisional while shards are missing."""
    job_reads.get_job(database(), job_id)
    sites = {site.site: site for site in results.list_sites(database(), job_id)}
    heads, provisional = rankings.get_rankings(database(), job_id)
    rows = [{**asdict(head), **_place(sites[head.site])} for head in heads]
    rows.sort(key=lambda row: (row["source"], row["rank"]))
    return jsonify({"rankings": rows, "provisional": provisional})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples")
def list_examples(job_id: int) -> Response:
    """Examples in order; `after` is the last one of the page before."""
    job = job_reads.get_job(database(), job_id)
    limit = integer("limit", 50, low=1, high=MOST_ROWS)
    found = results.list_examples(
        database(),
        job_id,
        only=choice("only", results.ONLY),
        predicted=optional_integer("predicted"),
        gold=optional_integer("gold"),
        contains=words("q"),
        after=integer("after", -1, low=-1),
        limit=limit + 1,
    )
    rows = [_example_json(example, job.labels) for example in found[:limit]]
    last = found[limit - 1].example if len(found) > limit else None
    return jsonify({"examples": rows, "next_after": last})


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>")
def get_example(job_id: int, example_no: int) -> Response:
    """One example with its tokens, head scores, strongest pairs and completeness."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    found = results.get_example(opened, job_id, example_no)
    sites = {site.site: site for site in results.list_sites(opened, job_id)}

    def placed(rows: list[Any]) -> list[dict[str, Any]]:
        return [{**row, **_place(sites[row["site"]])} for row in rows if row["site"] in sites]

    body = {
        **_example_json(found, job.labels),
        "tokens": found.tokens,
        "token_attribution": found.token_attribution,
        "heads": placed(results.example_scores(opened, job_id, example_no)),
        "edges": placed(results.example_edges(opened, job_id, example_no)),
        "completeness": placed(results.example_sites(opened, job_id, example_no)),
    }
    return jsonify(body)


@blueprint.get("/workers")
def list_workers() -> Response:
    """Worker processes, last seen first."""
    found = fleet.list_workers(database(), settings())
    return jsonify({"workers": [asdict(worker) for worker in found]})


@blueprint.post("/uploads")
def upload() -> tuple[Response, int]:
    """Store a data file (multipart field `file`) and show its head."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise refuse("file", None, "is missing", "Send multipart/form-data with a field 'file'.")
    path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
    head = preview(path, settings())
    return jsonify(
        {"path": str(path), "name": path.name, "columns": head.columns, "rows": _shown(head.rows)}
    ), 201


@blueprint.post("/preview")
def preview_file() -> Response:
    """Columns and first rows of a data file in an allowed folder: {"path": ...}."""
    raw = read_json()
    given = raw.get("path") if isinstance(raw, dict) else None
    if not isinstance(given, str) or not given.strip():
        raise refuse("data.path", given, "must be a path", 'Send {"path": "..."}.')
    path = allowed_path("data.path", given, settings())
    if not path.is_file():
        raise refuse("data.path", given, "no such file", "Check the path; it is on the server.")
    head = preview(path, settings())
    return jsonify({"path": given, "columns": head.columns, "rows": _shown(head.rows)})


@blueprint.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def unknown(rest: str) -> Response:
    """Everything else under this version."""
    raise NotFoundError(f"There is no /api/v1/{rest[:100]}; see docs/api.md.")


def read_json() -> Any:
    """The request's body as JSON that the database can hold. Raises InputError."""
    if (request.content_length or 0) > MAX_JSON:
        raise refuse("body", request.content_length, f"is longer than {MAX_JSON} bytes", "")
    raw = request.get_data(cache=False)
    try:
        parsed = json.loads(raw)
        if any("\0" in text for text in _texts(parsed)):
            raise refuse("body", None, "has a NUL character", "Remove \\u0000.")
        # A lone surrogate is JSON but no Unicode text.
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise refuse(
            "body", raw[:80].decode(errors="replace"), f"is not JSON: {reason}", "Send an object."
        ) from None
    return parsed


def checked_json(checked: Checked) -> dict[str, Any]:
    """What checking found out, for the form and for API users."""
    facts, rows = checked.facts, checked.rows
    return {
        "estimate": asdict(checked.estimate),
        "existing_job": checked.existing_job,
        "same_as": checked.same_as,
        "model": model_json(facts),
        "first_texts": None
        if not rows
        else [rows.text_a[0][:300]] + ([rows.text_b[0][:300]] if rows.text_b else []),
    }


def model_json(facts: ModelFacts) -> dict[str, Any]:
    """What a model's configuration says."""
    return {
        "family": facts.family,
        "labels": facts.labels,
        "layers": facts.layers,
        "heads": facts.heads,
        "max_length": facts.max_length,
    }


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _shard_json(shard: job_reads.Shard) -> dict[str, Any]:
    condition = fleet.shard_condition(shard, settings())
    values = {key: value for key, value in asdict(shard).items() if key != "heartbeat_seconds"}
    return {**values, "condition": condition}


def _place(site: Site) -> dict[str, Any]:
    return {"layer": site.layer, "kind": site.kind}


def _example_json(example: Example, labels: tuple[str, ...]) -> dict[str, Any]:
    def name(index: int | None) -> str | None:
        return labels[index] if index is not None and 0 <= index < len(labels) else None

    return {
        "example": example.example,
        "source_row": example.source_row,
        "text_a": example.text_a,
        "text_b": example.text_b,
        "gold": example.gold,
        "gold_label": name(example.gold),
        "predicted": example.predicted,
        "predicted_label": name(example.predicted),
        "target": example.target,
        "target_label": name(example.target),
        "probabilities": example.probabilities,
        "truncated": example.truncated,
        "error": example.error,
    }


def _shown(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{key: str(value)[:200] for key, value in row.items()} for row in rows]
