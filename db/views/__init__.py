"""The published views: the public contract of the database. docs/schema.md is generated from them.

Every view is one SELECT that both SQLite and PostgreSQL understand, and every column has a
description; tests compare both with the database and with the page.
"""

from __future__ import annotations

import hashlib

from db.views.kinds import KIND_VIEWS
from db.views.parts import ATTENTION_TYPE, EXAMPLE, HEAD, JOB, KIND, LAYER, View, columns, of, shown

_DONE = (
    "COALESCE((SELECT SUM(d.hi - d.lo) FROM shard d WHERE d.job_id = j.id AND d.state = 'done'), 0)"
)
_FAILED = "COALESCE((SELECT SUM(f.examples_failed) FROM shard f WHERE f.job_id = j.id), 0)"

_OWN_VIEWS: tuple[View, ...] = (
    View(
        name="jobs",
        meaning="One row per job.",
        source="job j WHERE j.state <> 'deleting'",
        columns=columns(
            ("job_id", "j.id", "integer", "Number of the job."),
            ("kind", "j.kind", "text", "Kind of job: attribution, importance, pruning or attack."),
            ("name", "j.name", "text", "Name given by its user."),
            ("user_name", "j.user_name", "text", "Who submitted it."),
            (
                "state",
                "j.state",
                "text",
                "queued, planning, running, paused, stopping, finalizing, "
                "succeeded, failed, cancelling or cancelled.",
            ),
            ("priority", "j.priority", "integer", "Higher runs first."),
            ("queue", "j.queue", "text", "Queue its shards wait in."),
            ("examples", "j.examples", "integer", "Examples in the job."),
            ("examples_done", _DONE, "integer", "Examples whose shard is done."),
            ("examples_failed", _FAILED, "integer", "Examples of those that failed."),
            ("layers", "j.layers", "integer", "Layers of the model."),
            ("heads", "j.heads", "integer", "Heads per layer of the model."),
            ("labels", "j.labels", "text", "The model's labels, a JSON array."),
            ("spec", "j.spec", "text", "The whole specification, a JSON object."),
            ("spec_hash", "j.spec_hash", "text", "SHA-256 of the specification."),
            ("data_fingerprint", "j.data_fingerprint", "text", "SHA-256 over the job's rows."),
            ("model_fingerprint", "j.model_fingerprint", "text", "SHA-256 over the model's files."),
            ("result_hash", "j.result_hash", "text", "SHA-256 over the job's results."),
            ("error", "j.error", "text", "Why it failed."),
            ("created_at", "j.created_at", "real", "Submitted, seconds since 1970 UTC."),
            (
                "started_at",
                "j.started_at",
                "real",
                "Planned and ready to run, seconds since 1970 UTC.",
            ),
            ("finished_at", "j.finished_at", "real", "Finished, seconds since 1970 UTC."),
            ("deadline_at", "j.deadline_at", "real", "Its deadline, seconds since 1970 UTC."),
            (
                "purged_at",
                "j.purged_at",
                "real",
                "Its details (texts and rows per example) were purged, seconds since 1970 UTC.",
            ),
        ),
    ),
    View(
        name="shards",
        meaning="One row per shard, the unit of work, retry and commit.",
        source="shard s",
        columns=columns(
            ("job_id", "s.job_id", "integer", "Job, see jobs.job_id."),
            (
                "shard",
                "s.shard_no",
                "integer",
                "Shard within the job, numbered by its first example; from 0 up in older jobs.",
            ),
            ("first_example", "s.lo", "integer", "First example in it."),
            (
                "end_example",
                "s.hi",
                "integer",
                "First example after it; may decrease until the shard is done.",
            ),
            ("state", "s.state", "text", "ready, leased, done, failed or cancelled."),
            ("fence", "s.fence", "integer", "Times it was claimed; only the last claim holds it."),
            ("worker", "s.owner", "text", "Worker that holds or finished it."),
            ("progress", "s.progress", "integer", "Examples computed by the running attempt."),
            ("moved_at", "s.moved_at", "real", "Last progress, seconds since 1970 UTC."),
            ("errors", "s.errors", "integer", "Attempts that raised an error."),
            ("losses", "s.losses", "integer", "Attempts whose lease expired."),
            ("error", "s.error", "text", "The last error."),
        ),
    ),
    View(
        name="attempts",
        meaning="One row per claim of a shard by a worker.",
        source="attempt a",
        columns=columns(
            ("job_id", "a.job_id", "integer", "Job, see jobs.job_id."),
            ("shard", "a.shard_no", "integer", "Shard within the job."),
            ("fence", "a.fence", "integer", "Number of the claim, from 1."),
            ("worker", "a.worker", "text", "Worker that claimed it."),
            ("device", "a.device", "text", "Device it ran on."),
            ("versions", "a.versions", "text", "Versions of headwise, torch and transformers."),
            ("started_at", "a.started_at", "real", "Claimed, seconds since 1970 UTC."),
            ("finished_at", "a.finished_at", "real", "Ended, seconds since 1970 UTC."),
            ("outcome", "a.outcome", "text", "done, error, handed-back, lost or cancelled."),
            ("examples", "a.examples", "integer", "Examples it computed."),
            ("seconds", "a.seconds", "real", "Seconds of computing."),
            ("error", "a.error", "text", "What went wrong."),
        ),
    ),
    View(
        name="log_lines",
        meaning="One row per line that a worker or scheduler logged about a job.",
        source=f"job_log l {shown('l')}",
        columns=columns(
            ("job_id", "l.job_id", "integer", "Job, see jobs.job_id."),
            ("source", "l.source", "text", "Process that logged it: a worker or a scheduler."),
            ("line", "l.line_no", "integer", "Number of the line, ascending within its source."),
            ("shard", "l.shard_no", "integer", "Shard that it is about; null for the whole job."),
            ("fence", "l.fence", "integer", "Attempt that it is about, see attempts.fence."),
            ("logged_at", "l.at", "real", "Logged, seconds since 1970 UTC."),
            ("stored_at", "l.stored_at", "real", "Stored in the database, seconds since 1970 UTC."),
            (
                "level",
                "l.level",
                "integer",
                "10 debug, 20 info, 30 warning, 40 error, 50 critical.",
            ),
            ("event", "l.event", "text", "What happened."),
            ("details", "l.details", "text", "Details: key=value, and tracebacks."),
        ),
    ),
    View(
        name="schedulers",
        meaning="One row per scheduler process of the last day.",
        source="scheduler c",
        columns=columns(
            ("scheduler", "c.name", "text", "Name: host, process and a random part."),
            ("host", "c.host", "text", "Machine."),
            ("state", "c.state", "text", "running or stopped, at its last heartbeat."),
            ("broker_error", "c.broker_error", "text", "Why it could not reach the broker."),
            ("started_at", "c.started_at", "real", "Started, seconds since 1970 UTC."),
            ("seen_at", "c.seen_at", "real", "Last heartbeat, seconds since 1970 UTC."),
            ("moved_at", "c.moved_at", "real", "End of its last round, seconds since 1970 UTC."),
        ),
    ),
    View(
        name="workers",
        meaning="One row per worker process of the last day.",
        source="worker w",
        columns=columns(
            ("worker", "w.name", "text", "Name: host, process and a random part."),
            ("host", "w.host", "text", "Machine."),
            ("queue", "w.queue", "text", "Queues it serves, separated by commas."),
            ("device", "w.device", "text", "Device it computes on."),
            ("state", "w.state", "text", "idle, busy or stopped, at its last heartbeat."),
            ("job_id", "w.job_id", "integer", "Job that it is working on."),
            ("shard", "w.shard_no", "integer", "Shard that it is working on."),
            ("started_at", "w.started_at", "real", "Started, seconds since 1970 UTC."),
            ("seen_at", "w.seen_at", "real", "Last heartbeat, seconds since 1970 UTC."),
            ("beat_seconds", "w.beat_seconds", "real", "Time between its heartbeats."),
            (
                "resource_usage",
                "w.vitals",
                "text",
                "Its resource usage, a JSON object: bytes, and shares of a core and of its GPU.",
            ),
            ("vitals", "w.vitals", "text", "Earlier name of resource_usage."),
        ),
    ),
    View(
        name="examples",
        meaning="One row per example whose shard is done.",
        source="example_result r JOIN example e ON e.job_id = r.job_id "
        f"AND e.example_no = r.example_no {shown('r')}",
        columns=columns(
            *of("r", JOB, EXAMPLE),
            ("source_row", "e.source_row", "integer", "Row of the data it came from, from 0."),
            ("text_a", "e.text_a", "text", "First text; null when texts are not kept."),
            ("text_b", "e.text_b", "text", "Second text of a pair."),
            ("text_hash", "e.text_hash", "text", "SHA-256 of the texts."),
            ("gold", "e.gold", "integer", "Gold label, an index into jobs.labels."),
            ("predicted", "r.predicted", "integer", "Predicted label, an index."),
            ("target", "r.target", "integer", "Label whose output was attributed, an index."),
            ("probabilities", "r.probabilities", "text", "Probability per label, a JSON array."),
            (
                "tokens",
                "r.tokens",
                "text",
                "Word pieces, a JSON array; null when texts are not kept.",
            ),
            (
                "word_index",
                "r.word_index",
                "text",
                "JSON array: the number of the word that each token is a piece of; null when texts "
                "are not kept, or the tokenizer reports no offsets.",
            ),
            (
                "token_spans",
                "r.token_spans",
                "text",
                "JSON array: for each token [text, start, end], its characters start to end - 1 of "
                "text_a (0) or text_b (1); null for special tokens.",
            ),
            (
                "token_attribution",
                "r.token_attribution",
                "text",
                "JSON array, a row per site: the "
                "attribution of each key token, summed over the site's heads and queries.",
            ),
            (
                "truncated",
                "r.truncated",
                "boolean",
                "Whether the text was cut to the maximum length.",
            ),
            ("error", "r.error", "text", "Why the example failed; it then has no scores."),
        ),
    ),
    View(
        name="sites",
        meaning="One row per site, an attention module, of a job's model.",
        source="site s",
        columns=columns(
            ("job_id", "s.job_id", "integer", "Job, see jobs.job_id."),
            ("site", "s.site", "integer", "Number of the site, from 0."),
            LAYER,
            ATTENTION_TYPE,
            KIND,
            ("heads", "s.heads", "integer", "Heads in it."),
            ("module", "s.name", "text", "Name of the module in the model."),
        ),
    ),
    View(
        name="head_scores",
        meaning="One row per example and head.",
        source="head_score h JOIN site s ON s.job_id = h.job_id AND s.site = h.site",
        columns=columns(
            *of("h", JOB, EXAMPLE, LAYER, ATTENTION_TYPE, KIND, HEAD),
            (
                "score",
                "h.score",
                "real",
                "Largest cell of the head's attribution matrix: the paper's score of the head.",
            ),
            ("total", "h.total", "real", "Sum of the head's attribution matrix."),
            ("query", "h.query", "integer", "Query position of the largest cell."),
            ("key", "h.key", "integer", "Key position of the largest cell."),
            ("attention_max", "h.attention_max", "real", "Largest attention probability."),
            (
                "attention_mean",
                "h.attention_mean",
                "real",
                "Mean over queries of the largest attention probability of the row.",
            ),
        ),
    ),
    View(
        name="head_importance",
        meaning="One row per head of a finished job.",
        source="importance i JOIN site s ON s.job_id = i.job_id AND s.site = i.site",
        columns=columns(
            *of("i", JOB, LAYER, ATTENTION_TYPE, KIND, HEAD),
            ("rank", "i.rank", "integer", "1 is the most important head."),
            ("n", "i.n", "integer", "Examples counted."),
            ("mean", "i.mean", "real", "Mean score: the paper's importance of the head."),
            ("std", "i.std", "real", "Standard deviation of the score (n - 1)."),
            ("low", "i.low", "real", "Lower end of the 95 % interval of the mean."),
            ("high", "i.high", "real", "Upper end of the 95 % interval of the mean."),
            ("mean_total", "i.mean_total", "real", "Mean of the total."),
            ("mean_absolute_total", "i.mean_absolute_total", "real", "Mean of the absolute total."),
            ("mean_attention_max", "i.mean_attention_max", "real", "Mean of attention_max."),
            ("mean_attention_mean", "i.mean_attention_mean", "real", "Mean of attention_mean."),
        ),
    ),
    View(
        name="token_edges",
        meaning="The strongest cells of each example over all its heads.",
        source="edge t JOIN site s ON s.job_id = t.job_id AND s.site = t.site",
        columns=columns(
            *of("t", JOB, EXAMPLE),
            ("rank", "t.rank", "integer", "1 is the strongest cell of the example."),
            *of("t", LAYER, ATTENTION_TYPE, KIND, HEAD),
            ("query", "t.query", "integer", "Query position."),
            ("key", "t.key", "integer", "Key position."),
            ("query_token", "t.query_token", "text", "Word piece at the query position."),
            ("key_token", "t.key_token", "text", "Word piece at the key position."),
            (
                "query_word",
                "t.query_word",
                "text",
                "The word as written that query_token is a piece of; null for special tokens.",
            ),
            ("key_word", "t.key_word", "text", "The same for key_token."),
            ("attribution", "t.attribution", "real", "Attribution of the cell."),
            ("attention", "t.attention", "real", "Attention probability of the cell."),
        ),
    ),
    View(
        name="completeness",
        meaning="One row per example and site: how well the attribution adds up.",
        source="site_result c JOIN site s ON s.job_id = c.job_id AND s.site = c.site",
        columns=columns(
            *of("c", JOB, EXAMPLE, LAYER, ATTENTION_TYPE, KIND),
            ("f0", "c.f0", "real", "Target with the site's attention set to zero."),
            ("f1", "c.f1", "real", "Target of the whole model."),
            ("residual", "c.residual", "real", "Sum of the attribution minus (f1 - f0)."),
            ("points", "c.points", "integer", "Integration points used."),
            ("converged", "c.converged", "boolean", "Whether the estimated error met rtol."),
        ),
    ),
    View(
        name="job_parents",
        meaning="One row per job and earlier job that it needs.",
        source="job_parent p",
        columns=columns(
            *of("p", JOB),
            ("parent_id", "p.parent_id", "integer", "The job that it needs."),
        ),
    ),
    View(
        name="study_steps",
        meaning="One row per step of a study: jobs that were submitted together.",
        source="study_step t JOIN study y ON y.id = t.study_id",
        columns=columns(
            ("study_id", "t.study_id", "integer", "Number of the study."),
            ("study", "y.name", "text", "Its name."),
            ("user_name", "y.user_name", "text", "Who submitted it."),
            ("step", "t.step", "text", "Name of the job in the study."),
            ("position", "t.position", "integer", "Place of the step, from 0."),
            ("job_id", "t.job_id", "integer", "Job; it may have been finished before the study."),
            ("created_at", "y.created_at", "real", "Submitted, seconds since 1970 UTC."),
        ),
    ),
)

VIEWS: tuple[View, ...] = (*_OWN_VIEWS, *KIND_VIEWS)
VIEW_NAMES = tuple(view.name for view in VIEWS)


def views_hash() -> str:
    """Return the SHA-256 of every view; a database with a different hash gets new views."""
    definitions = "\n".join(view.definition("postgresql") for view in VIEWS)
    return hashlib.sha256(definitions.encode()).hexdigest()


def schema_page() -> str:
    """Render docs/schema.md: every view, column by column."""
    lines = [
        "# Published views",
        "",
        "Generated by `headwise schema`; a test fails when stale. The console and `headwise sql`",
        "show bytes (`x'00ff'`, `bytea`) as hexadecimal digits, `00ff`, in tables, CSV and JSON.",
        "",
    ]
    for view in VIEWS:
        lines += [f"## {view.name}", "", view.meaning, "", "| column | type | meaning |"]
        lines += ["| --- | --- | --- |"]
        lines += [f"| `{c.name}` | {c.type} | {c.meaning} |" for c in view.columns]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
