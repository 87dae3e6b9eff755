"""Jobs, their shards and their logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from db.ops.fleet import ProcessState
from db.reads.job_list import SORTS
from db.reads.jobs import Attempt
from db.reads.status import Cause, Phase
from jobs.kinds import NAMES
from jobs.processes.logs import LEVELS
from jobs.specs.base import Frozen
from jobs.states import SHOWN_JOB_STATES, JobState, ShardState
from scheduler.submission.many import MOST_JOBS, ManyAction, Outcome
from webui.contract.models import DEPRECATED, Answer, Page, PageQuery, Query

ShownState = Literal[tuple(state.value for state in SHOWN_JOB_STATES)]  # type: ignore[valid-type]
Level = Literal[tuple(LEVELS)]  # type: ignore[valid-type]
Text = Annotated[str, StringConstraints(max_length=200)]
MAX_ID = 2**31 - 1


class JobQuery(PageQuery):
    """The jobs to list."""

    state: ShownState | None = Field(  # type: ignore[valid-type]
        default=None, description="Only jobs in this state."
    )
    phase: Phase | None = Field(
        default=None,
        description="Only jobs that do this now; a job that is pausing counts as paused.",
    )
    kind: Literal[NAMES] | None = Field(  # type: ignore[valid-type]
        default=None, description="Only jobs of this kind."
    )
    user: Text = Field(default="", description="Only jobs of this user.")
    mine: bool = Field(default=False, description="Only jobs of the person who asks.")
    model: Text = Field(default="", description="Only jobs with this `model_name`.")
    quick: bool | None = Field(
        default=None, description="Only quick jobs, of one text, or only the others."
    )
    q: Text = Field(
        default="",
        description="Only jobs with this text in number, name, user, specification, error or first "
        "text.",
    )
    sort: Literal[tuple(sign + name for name in SORTS for sign in ("", "-"))] = Field(  # type: ignore[valid-type]
        default="-submitted", description="What to sort by; `-` for descending."
    )
    offset: int = Field(
        default=0,
        ge=0,
        le=MAX_ID,
        json_schema_extra=DEPRECATED,
        description="Use `next` of an answer.",
    )


class ShardQuery(PageQuery):
    """The shards to list."""

    state: Literal[tuple(one.value for one in ShardState)] | None = Field(  # type: ignore[valid-type]
        default=None, description="Only shards in this state."
    )
    offset: int = Field(
        default=0,
        ge=0,
        le=MAX_ID,
        json_schema_extra=DEPRECATED,
        description="Use `next` of an answer.",
    )


class LogQuery(PageQuery):
    """The lines of a log to list."""

    limit: int = Field(default=200, ge=1, le=500, description="Most lines of the page.")
    level: Level | None = Field(  # type: ignore[valid-type]
        default=None, description="Lines of this level or above."
    )
    shard: int | None = Field(default=None, ge=0, le=MAX_ID, description="Lines of this shard.")
    newest: bool = Field(
        default=False,
        description="Also lines of the last two seconds, which more may still come between: for "
        "reading a log once, not to follow it.",
    )
    after: str = Field(
        default="",
        max_length=400,
        json_schema_extra=DEPRECATED,
        description="Use `follow` of an answer.",
    )


class LogFilter(Query):
    """The lines of a whole log."""

    level: Level | None = Field(  # type: ignore[valid-type]
        default=None, description="Lines of this level or above."
    )
    shard: int | None = Field(default=None, ge=0, le=MAX_ID, description="Lines of this shard.")


class Reading(Answer):
    """The reading of a submission's data."""

    format: str
    """Format of the file, in words; empty for other data."""
    rows: int
    """Rows that were selected."""
    text_columns: tuple[str, ...]
    label_column: str | None
    labels_by: str
    """`name`, `index`, `class-label` (by the names that the data holds), or `nothing`."""
    label_counts: Mapping[str, int]
    """Rows by label; those without one under the empty text."""
    notes: tuple[str, ...]
    """Treatment of the data that one may not expect."""
    sentences: list[str]
    """The same in words."""


class JobAnswer(Answer):
    """A job with its progress."""

    id: int
    kind: str
    name: str
    title: str
    """Its name and the beginning of a text of its own, or else its model and data."""
    user: str
    state: JobState
    control: Literal["run", "pause", "cancel"]
    """`pause` or `cancel` where that was asked of it, otherwise `run`."""
    phase: Phase
    """Its present status: a job in the state `running` is `executing` while workers hold its
    shards, and else `waiting`."""
    status: str
    """The same with where or what for: `waiting (7th in queue)`, `executing on gpu-3`."""
    queue_position: int | None
    """Its place in the queue, from 1, in the order in which a worker would take a shard; null if it
    waits for something else, and behind the first few dozen."""
    hosts: list[str]
    """Machines whose workers hold its shards."""
    final: bool
    """True once it has ended."""
    priority: int
    queue: str
    quick: bool
    """True for the job of one text."""
    model_name: str
    """The last part of the model's path or name, by which lists filter."""
    data_name: str
    examples: int
    examples_done: int
    """Examples whose shard is done."""
    examples_failed: int
    examples_computed: int
    """Examples computed so far, including those of unfinished shards."""
    examples_per_second: float | None
    eta_seconds: float | None
    """Seconds left with the workers that hold its shards; null before three pieces of it are done,
    and while the range says nothing."""
    eta_low_seconds: float | None
    eta_high_seconds: float | None
    """In eight of ten cases it takes from the low to the high number of seconds."""
    elapsed_seconds: float | None
    """Seconds during which workers held at least one of its shards."""
    compute_seconds: float
    """Seconds that workers held its shards, added up."""
    waiting: str | None
    """The other job, or the hub, that it waits for."""
    labels: tuple[str, ...]
    """Names of the model's outputs."""
    outputs: str
    """The meaning of the labels: `classes`, `labels` (multi-label) or `numbers` (regression)."""
    layers: int | None
    heads: int | None
    """Heads of a layer."""
    spec: dict[str, Any]
    """The specification, with every default."""
    spec_hash: str
    data_fingerprint: str | None
    model_fingerprint: str | None
    result_hash: str | None
    """Equal hashes are equal results."""
    error: str | None
    warning: str | None
    """A doubt about the results, such as an accuracy at chance."""
    understood: Reading | None
    """The reading of its data; null before that."""
    parents: list[int]
    """The jobs that it needs."""
    deadline_at: float | None
    keep_days: float | None
    """Days from its end until it is deleted, if set for this job; 0 is never."""
    keep_details_days: float | None
    """Days from its end until its details are purged, likewise."""
    purged_at: float | None
    """The time its details were purged: texts and rows per example."""
    plan_at: float | None
    """The time planning is tried again, if the hub did not answer."""
    plan_tries: int
    created_at: float
    """Times are seconds since 1970 (UTC), by the database's clock."""
    started_at: float | None
    finished_at: float | None


class LiveJobAnswer(JobAnswer):
    """A job with its progress, as its page follows it."""

    shards: dict[str, int]
    """Shards by state."""
    text: dict[str, str]
    """Progress in words."""


class FacetsAnswer(Answer):
    """The number of jobs by each thing that can be chosen.

    Each counts those that the other choices leave.
    """

    phase: dict[str, int]
    kind: dict[str, int]
    user: dict[str, int]
    model: dict[str, int]
    quick: int
    """Quick jobs, whatever else is chosen."""
    others: int


class JobPage(Page):
    """Jobs, newest first unless another order is asked for."""

    jobs: list[JobAnswer]
    total: int
    """Jobs on all pages."""
    facets: FacetsAnswer


class ManyBody(Frozen):
    """An action on many jobs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": "pause", "jobs": [5, 7]}]})

    action: ManyAction
    jobs: list[Annotated[int, Field(ge=1, le=MAX_ID)]] = Field(
        min_length=1, max_length=MOST_JOBS, description="Their numbers."
    )
    priority: int = Field(
        default=0, ge=-100, le=100, description="The new one, for the action `priority`."
    )


class ManyAnswer(Answer):
    """The effect of an action on each of the jobs."""

    outcomes: list[Outcome]


class WaitingAnswer(Answer):
    """The reason a job waits; both are null where it runs or has ended."""

    cause: Cause | None
    message: str | None
    """A sentence."""


class DeletedAnswer(Answer):
    """A job that was deleted."""

    deleted: int


class ShardAnswer(Answer):
    """A shard and its attempts."""

    shard: int
    lo: int
    """First example."""
    hi: int
    """The example after the last."""
    state: ShardState
    fence: int
    """Grows with every lease."""
    worker: str | None
    progress: int
    examples_failed: int
    errors: int
    losses: int
    error: str | None
    still: float | None
    """Seconds since a leased shard made progress."""
    silent: float | None
    """Seconds since the last heartbeat of its worker."""
    condition: ProcessState | None
    """`stalled`, or `dead` (its worker), where a leased shard stands still."""
    attempts: tuple[Attempt, ...]


class ShardPage(Page):
    """Shards, failed ones first, then leased ones."""

    shards: list[ShardAnswer]


class LogLineAnswer(Answer):
    """A line of a job's log."""

    at: float
    level: str
    source: str
    """The process that logged it."""
    shard: int | None
    attempt: int | None
    event: str
    details: str


class LogPage(Page):
    """Lines in the order in which they came."""

    lines: list[LogLineAnswer]
    follow: str | None
    """Address that goes on after these lines, also when there is nothing more yet."""
    next_after: str | None = Field(json_schema_extra=DEPRECATED)
    """Use `follow`."""
