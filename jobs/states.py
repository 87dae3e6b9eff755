"""Every state of a job and of a shard, and every transition: the only definition.

    job:    queued -> planning -> running <-> paused -> finalizing -> succeeded | failed
            queued -> failed (a job that it needs did not succeed)
            planning -> failed (its data cannot be loaded) | paused (requested meanwhile)
                        | queued (the hub does not answer; planned again after a backoff)
            running | paused -> stopping (its deadline passed) -> finalizing, with partial results
            queued | planning -> failed (its deadline passed)
            any non-final -> cancelling -> cancelled
            succeeded | failed | cancelled -> deleting (no longer visible; its row goes last)
    shard:  ready -> leased -> done
            leased -> ready       an error (errors + 1, backoff), an expired lease (losses + 1),
                                  or a graceful hand-back (nothing is counted)
            leased -> failed      errors or losses at their limit, and no example is the cause
            ready | leased -> cancelled
            ready -> failed       another shard found that the job's model cannot be loaded

A shard is a range of a job's examples; at any time the shards together cover all of them. A shard
may be split: its end becomes another ready shard, in the same transaction,

    when it is claimed            a worker takes as much as it computes in a minute
    while it is leased            its end goes to an idle worker, or it makes room for a job of
                                  higher priority
    when it is committed          the worker stopped early: the blocks that it computed are done
    when it raised an error       the block that raised waits by itself for its next try
    at its limit of errors or     it is halved, each half with one more try, until the bad example
    losses                        is alone: that example fails with its error, its shard is done

What the user asks for (run, pause, cancel) is a separate column, `control`, which the scheduler
turns into a state. The database decides every transition: each statement in `db.queue.sql` names
the states that it leaves, so a process with outdated knowledge changes nothing. What errors and
lost workers lead to, and their limits: `db.queue.recovery`.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    PLANNING = "planning"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    DELETING = "deleting"


class ShardState(StrEnum):
    """State of a shard."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Control(StrEnum):
    """The user's request for a job."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


FINAL_JOB_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
SHOWN_JOB_STATES = tuple(state for state in JobState if state is not JobState.DELETING)
"""The states of jobs that users can see."""

JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.PLANNING, JobState.FAILED, JobState.CANCELLING}),
    JobState.PLANNING: frozenset(
        {
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.PAUSED,
            JobState.FAILED,
            JobState.CANCELLING,
        }
    ),
    JobState.RUNNING: frozenset(
        {JobState.PAUSED, JobState.STOPPING, JobState.FINALIZING, JobState.CANCELLING}
    ),
    JobState.PAUSED: frozenset(
        {JobState.RUNNING, JobState.STOPPING, JobState.FINALIZING, JobState.CANCELLING}
    ),
    JobState.STOPPING: frozenset({JobState.FINALIZING, JobState.CANCELLING}),
    JobState.FINALIZING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLING}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset({JobState.DELETING}),
    JobState.FAILED: frozenset({JobState.DELETING}),
    JobState.CANCELLED: frozenset({JobState.DELETING}),
    JobState.DELETING: frozenset(),
}

SHARD_TRANSITIONS: dict[ShardState, frozenset[ShardState]] = {
    ShardState.READY: frozenset({ShardState.LEASED, ShardState.FAILED, ShardState.CANCELLED}),
    ShardState.LEASED: frozenset(
        {ShardState.READY, ShardState.DONE, ShardState.FAILED, ShardState.CANCELLED}
    ),
    ShardState.DONE: frozenset(),
    ShardState.FAILED: frozenset(),
    ShardState.CANCELLED: frozenset(),
}

MAX_PLAN_TRIES = 12
"""A job whose data cannot be loaded from the hub fails after this many tries, in 35 minutes."""


def plan_backoff_seconds(tries: int) -> float:
    """Seconds to wait before planning a job again after `tries` failed tries."""
    return min(300.0, 10.0 * 2.0 ** max(0, tries - 1))
