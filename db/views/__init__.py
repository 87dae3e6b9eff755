"""The published views: the public contract of the database.

docs/reference/schema.md is generated from them. Every view is one SELECT that both SQLite and
PostgreSQL understand, and every column has a description; tests compare both with the database
and with the page.
"""

from __future__ import annotations

import hashlib

from db.views.kinds import KIND_VIEWS
from db.views.operations import OPERATIONS_VIEWS
from db.views.parts import EXAMPLE, HEAD, JOB, SITE, View, shown

_DONE = (
    "COALESCE((SELECT SUM(d.hi - d.lo) FROM shard d WHERE d.job_id = j.id AND d.state = 'done'), 0)"
)
_FAILED = "COALESCE((SELECT SUM(f.examples_failed) FROM shard f WHERE f.job_id = j.id), 0)"

_OWN_VIEWS: tuple[View, ...] = (
    View(
        name="jobs",
        meaning="One row per job.",
        source="job j WHERE j.state <> 'deleting'",
        fields=(
            ("job_id", "integer", "Number of the job.", "id"),
            ("kind", "text", "Kind of job: attribution, importance, pruning or attack."),
            ("name", "text", "Name given by its user."),
            ("user_name", "text", "Who submitted it."),
            (
                "state",
                "text",
                "queued, planning, running, paused, stopping, finalizing, "
                "succeeded, failed, cancelling or cancelled.",
            ),
            ("priority", "integer", "Higher runs first."),
            ("queue", "text", "Queue its shards wait in."),
            ("examples", "integer", "Examples in the job."),
            ("examples_done", "integer", "Examples whose shard is done.", _DONE),
            ("examples_failed", "integer", "Of those, examples that failed.", _FAILED),
            ("layers", "integer", "Layers of the model."),
            ("heads", "integer", "Heads per layer of the model."),
            ("labels", "text", "The model's labels, a JSON array."),
            ("spec", "text", "The whole specification, a JSON object."),
            ("spec_hash", "text", "SHA-256 of the specification."),
            ("data_fingerprint", "text", "SHA-256 over the job's rows."),
            ("model_fingerprint", "text", "SHA-256 over the model's files."),
            ("result_hash", "text", "SHA-256 over the job's results."),
            ("error", "text", "Why it failed."),
            ("created_at", "real", "Submitted, seconds since 1970 UTC."),
            ("started_at", "real", "Planned and ready to run, seconds since 1970 UTC."),
            ("finished_at", "real", "Finished, seconds since 1970 UTC."),
            ("deadline_at", "real", "Its deadline, seconds since 1970 UTC."),
            (
                "purged_at",
                "real",
                "Its details (texts and rows per example) were purged, seconds since 1970 UTC.",
            ),
            ("model", "text", "Name of the model, without its folder or owner.", "j.model_name"),
            ("data", "text", "Name of the data, without its folder or owner.", "j.data_name"),
            (
                "compute_seconds",
                "real",
                "Seconds that workers held its shards, added up; stored when it has ended.",
            ),
        ),
    ),
    View(
        name="job_labels",
        meaning="One row per label of a job's model: jobs.labels as plain columns.",
        source="job j {array j.labels l} WHERE j.state <> 'deleting'",
        fields=(
            ("job_id", "integer", "Job, see jobs.job_id.", "j.id"),
            ("label", "integer", "Index of the label, as in examples.gold.", "l.key"),
            ("name", "text", "Its name.", "l.value"),
        ),
    ),
    View(
        name="shards",
        meaning="One row per shard, the unit of work, retry and commit.",
        source="shard s",
        fields=(
            JOB,
            (
                "shard",
                "integer",
                "Shard within the job, numbered by its first example; from 0 up in older jobs.",
                "shard_no",
            ),
            ("first_example", "integer", "First example in it.", "lo"),
            (
                "end_example",
                "integer",
                "First example after it; may decrease until the shard is done.",
                "hi",
            ),
            ("state", "text", "ready, leased, done, failed or cancelled."),
            ("fence", "integer", "Times it was claimed; only the last claim holds it."),
            ("worker", "text", "Worker that holds or finished it.", "owner"),
            (
                "progress",
                "integer",
                "Examples computed in whole batches, by the running attempt and before.",
            ),
            ("moved_at", "real", "Last progress, seconds since 1970 UTC."),
            ("errors", "integer", "Attempts that raised an error."),
            ("losses", "integer", "Attempts whose lease expired."),
            ("error", "text", "The last error."),
        ),
    ),
    View(
        name="attempts",
        meaning="One row per claim of a shard by a worker.",
        source="attempt a",
        fields=(
            JOB,
            ("shard", "integer", "Shard within the job.", "shard_no"),
            ("fence", "integer", "Number of the claim, from 1."),
            ("worker", "text", "Worker that claimed it."),
            ("device", "text", "Device it ran on."),
            ("versions", "text", "Versions of headwise, torch and transformers."),
            ("started_at", "real", "Claimed, seconds since 1970 UTC."),
            ("finished_at", "real", "Ended, seconds since 1970 UTC."),
            ("outcome", "text", "done, error, handed-back or lost."),
            ("examples", "integer", "Examples it computed."),
            ("seconds", "real", "Seconds of computing."),
            ("error", "text", "What went wrong."),
        ),
    ),
    View(
        name="attempt_versions",
        meaning="One row per attempt and package: attempts.versions as plain columns.",
        source="attempt a {object a.versions v}",
        fields=(
            JOB,
            ("shard", "integer", "Shard within the job.", "shard_no"),
            ("fence", "integer", "Number of the claim, see attempts.fence."),
            ("package", "text", "headwise, torch, transformers, python, ...", "v.key"),
            ("version", "text", "Its version.", "v.value"),
        ),
    ),
    View(
        name="log_lines",
        meaning="One row per line that a worker or scheduler logged about a job.",
        source=f"job_log l {shown('l')}",
        fields=(
            JOB,
            ("source", "text", "Process that logged it: a worker or a scheduler."),
            ("line", "integer", "Number of the line, ascending within its source.", "line_no"),
            ("shard", "integer", "Shard that it is about; null for the whole job.", "shard_no"),
            ("fence", "integer", "Attempt that it is about, see attempts.fence."),
            ("logged_at", "real", "Logged, seconds since 1970 UTC.", "at"),
            ("stored_at", "real", "Stored in the database, seconds since 1970 UTC."),
            ("level", "integer", "10 debug, 20 info, 30 warning, 40 error, 50 critical."),
            ("event", "text", "What happened."),
            ("details", "text", "Details: key=value, and tracebacks."),
        ),
    ),
    View(
        name="schedulers",
        meaning="One row per scheduler process of the last day.",
        source="scheduler c",
        fields=(
            ("scheduler", "text", "Name: host, process and a random part.", "name"),
            ("host", "text", "Machine."),
            ("state", "text", "running or stopped, at its last heartbeat."),
            ("broker_error", "text", "Why it could not reach the broker."),
            ("started_at", "real", "Started, seconds since 1970 UTC."),
            ("seen_at", "real", "Last heartbeat, seconds since 1970 UTC."),
            ("moved_at", "real", "End of its last round, seconds since 1970 UTC."),
        ),
    ),
    View(
        name="workers",
        meaning="One row per worker process of the last day.",
        source="worker w",
        fields=(
            ("worker", "text", "Name: host, process and a random part.", "name"),
            ("host", "text", "Machine."),
            ("queue", "text", "Queues it serves, separated by commas."),
            ("device", "text", "Device it computes on."),
            ("state", "text", "idle, busy or stopped, at its last heartbeat."),
            ("job_id", "integer", "Job that it is working on."),
            ("shard", "integer", "Shard that it is working on.", "shard_no"),
            ("started_at", "real", "Started, seconds since 1970 UTC."),
            ("seen_at", "real", "Last heartbeat, seconds since 1970 UTC."),
            ("beat_seconds", "real", "Time between its heartbeats."),
            (
                "resource_usage",
                "text",
                "Its resource usage, a JSON object: bytes, and shares of a core and of its GPU.",
                "vitals",
            ),
            ("vitals", "text", "Earlier name of resource_usage."),
        ),
    ),
    View(
        name="examples",
        meaning="One row per example whose shard is done.",
        source="example_result r JOIN example e ON e.job_id = r.job_id "
        f"AND e.example_no = r.example_no {shown('r')}",
        fields=(
            JOB,
            EXAMPLE,
            ("source_row", "integer", "Row of the data it came from, from 0.", "e.source_row"),
            ("text_a", "text", "First text; null when texts are not kept.", "e.text_a"),
            ("text_b", "text", "Second text of a pair.", "e.text_b"),
            ("text_hash", "text", "SHA-256 of the texts.", "e.text_hash"),
            ("gold", "integer", "Gold label, an index into jobs.labels.", "e.gold"),
            ("predicted", "integer", "Predicted label, an index."),
            ("target", "integer", "Label whose output was attributed, an index."),
            (
                "probabilities",
                "text",
                "Probability per label, a JSON array; a regression's numbers.",
            ),
            ("tokens", "text", "Word pieces, a JSON array; null when texts are not kept."),
            (
                "word_index",
                "text",
                "JSON array: the number of the word that each token is a piece of; null when texts "
                "are not kept, or the tokenizer reports no offsets.",
            ),
            (
                "token_spans",
                "text",
                "JSON array: for each token [text, start, end], its characters start to end - 1 of "
                "text_a (0) or text_b (1); null for special tokens.",
            ),
            (
                "token_attribution",
                "text",
                "JSON array, a row per site: the "
                "attribution of each key token, summed over the site's heads and queries.",
            ),
            ("truncated", "boolean", "Whether the text was cut to the maximum length."),
            ("error", "text", "Why the example failed; it then has no scores."),
        ),
    ),
    View(
        name="example_probabilities",
        meaning="One row per example and label: examples.probabilities as plain columns.",
        source=f"example_result r {shown('r')} {{array r.probabilities p}}",
        fields=(
            JOB,
            EXAMPLE,
            ("label", "integer", "Index of the label, see job_labels.", "p.key"),
            (
                "probability",
                "real",
                "Its probability; a number of a regression.",
                "CAST(p.value AS DOUBLE PRECISION)",
            ),
        ),
    ),
    View(
        name="sites",
        meaning="One row per site, an attention module, of a job's model.",
        source="site s",
        fields=(
            JOB,
            ("site", "integer", "Number of the site, from 0."),
            *SITE,
            ("heads", "integer", "Heads in it."),
            ("module", "text", "Name of the module in the model.", "name"),
        ),
    ),
    View(
        name="head_scores",
        meaning="One row per example and head.",
        source="head_score h JOIN site s ON s.job_id = h.job_id AND s.site = h.site",
        fields=(
            JOB,
            EXAMPLE,
            *HEAD,
            (
                "score",
                "real",
                "Largest cell of the head's attribution matrix: the paper's score of the head.",
            ),
            ("total", "real", "Sum of the head's attribution matrix."),
            ("query", "integer", "Query position of the largest cell."),
            ("key", "integer", "Key position of the largest cell."),
            ("attention_max", "real", "Largest attention probability."),
            (
                "attention_mean",
                "real",
                "Mean over queries of the largest attention probability of the row.",
            ),
        ),
    ),
    View(
        name="head_importance",
        meaning="One row per head of a finished job.",
        source="importance i JOIN site s ON s.job_id = i.job_id AND s.site = i.site",
        fields=(
            JOB,
            *HEAD,
            ("rank", "integer", "1 is the most important head."),
            ("n", "integer", "Examples counted."),
            ("mean", "real", "Mean score: the paper's importance of the head."),
            ("std", "real", "Standard deviation of the score (n - 1)."),
            ("low", "real", "Lower end of the 95 % interval of the mean."),
            ("high", "real", "Upper end of the 95 % interval of the mean."),
            ("mean_total", "real", "Mean of the total."),
            ("mean_absolute_total", "real", "Mean of the absolute total."),
            ("mean_attention_max", "real", "Mean of attention_max."),
            ("mean_attention_mean", "real", "Mean of attention_mean."),
        ),
    ),
    View(
        name="token_edges",
        meaning="The strongest cells of each example over all its heads.",
        source="edge t JOIN site s ON s.job_id = t.job_id AND s.site = t.site",
        fields=(
            JOB,
            EXAMPLE,
            ("rank", "integer", "1 is the strongest cell of the example."),
            *HEAD,
            ("query", "integer", "Query position."),
            ("key", "integer", "Key position."),
            ("query_token", "text", "Word piece at the query position."),
            ("key_token", "text", "Word piece at the key position."),
            (
                "query_word",
                "text",
                "The word as written that query_token is a piece of; null for special tokens.",
            ),
            ("key_word", "text", "The same for key_token."),
            ("attribution", "real", "Attribution of the cell."),
            ("attention", "real", "Attention probability of the cell."),
        ),
    ),
    View(
        name="completeness",
        meaning="One row per example and site: how well the attribution adds up.",
        source="site_result c JOIN site s ON s.job_id = c.job_id AND s.site = c.site",
        fields=(
            JOB,
            EXAMPLE,
            *SITE,
            ("f0", "real", "Target with the site's attention set to zero."),
            ("f1", "real", "Target of the whole model."),
            ("residual", "real", "Sum of the attribution minus (f1 - f0)."),
            ("points", "integer", "Integration points used."),
            ("converged", "boolean", "Whether the estimated error met rtol."),
        ),
    ),
    View(
        name="job_parents",
        meaning="One row per job and earlier job that it needs.",
        source="job_parent p",
        fields=(
            JOB,
            ("parent_id", "integer", "The job that it needs."),
        ),
    ),
    View(
        name="study_steps",
        meaning="One row per step of a study: jobs that were submitted together.",
        source="study_step t JOIN study y ON y.id = t.study_id",
        fields=(
            ("study_id", "integer", "Number of the study."),
            ("study", "text", "Its name.", "y.name"),
            ("user_name", "text", "Who submitted it.", "y.user_name"),
            ("step", "text", "Name of the job in the study."),
            ("position", "integer", "Place of the step, from 0."),
            ("job_id", "integer", "Job; it may have been finished before the study."),
            ("created_at", "real", "Submitted, seconds since 1970 UTC.", "y.created_at"),
        ),
    ),
)

VIEWS: tuple[View, ...] = (*_OWN_VIEWS, *OPERATIONS_VIEWS, *KIND_VIEWS)
VIEW_NAMES = tuple(view.name for view in VIEWS)


def views_hash() -> str:
    """Return the SHA-256 of every view; a database with a different hash gets new views."""
    definitions = "\n".join(view.definition("postgresql") for view in VIEWS)
    return hashlib.sha256(definitions.encode()).hexdigest()


def schema_page() -> str:
    """Render docs/reference/schema.md: every view, column by column."""
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
