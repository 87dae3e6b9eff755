"""The published views for operators: samples over time, and the sizes of jobs."""

from __future__ import annotations

from db.views.parts import JOB, View

OPERATIONS_VIEWS: tuple[View, ...] = (
    View(
        name="samples",
        meaning="One row per queue, worker or user for every five minutes in which it was active "
        "or alive; hourly after two days, and deleted after 30 days.",
        source="sample o",
        fields=(
            ("subject", "text", "queue, worker or user."),
            ("name", "text", "Its name."),
            ("starts_at", "integer", "Beginning of the time, seconds since 1970 UTC."),
            ("step_seconds", "integer", "Length of the time: 300 or 3600.", "step"),
            ("attempts", "integer", "Attempts that ended."),
            ("failures", "integer", "Attempts of those that raised an error or lost their lease."),
            ("examples", "integer", "Examples whose results were stored."),
            ("seconds", "real", "From claim to end, summed over those attempts."),
            (
                "shards_waiting",
                "integer",
                "Shards waiting for a worker at the end; in hourly rows the maximum, as in the "
                "columns that follow; null where no scheduler took a sample.",
                "ready",
            ),
            ("examples_waiting", "integer", "Examples of those shards.", "waiting"),
            ("shards_running", "integer", "Shards that were leased.", "leased"),
            ("longest_wait", "real", "Seconds that the oldest of them had waited.", "oldest"),
            ("workers", "integer", "Live workers of the queue; in hourly rows the minimum."),
            ("memory", "integer", "Bytes of the worker's resident memory."),
            ("device_memory", "integer", "Bytes that the worker had reserved on its GPU."),
        ),
    ),
    View(
        name="job_sizes",
        meaning="One row per job that has been measured.",
        source="job_size z",
        fields=(
            JOB,
            ("bytes", "integer", "Bytes of its rows, approximately."),
            ("details", "integer", "Bytes of those that a purge removes."),
            ("measured_at", "real", "Measured, seconds since 1970 UTC."),
        ),
    ),
)
