"""The scheduler: a loop of small idempotent steps. Any number of schedulers may run at once."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable

import structlog
from celery import Celery

from db.accounts import audit
from db.changes import changes_of
from db.database import Database
from db.ops import (
    attempt_counts,
    deletion,
    fleet,
    job_sizes,
    notifications,
    retention,
    samples,
    uploads,
)
from db.ops.fleet import NO_WORKERS, WorkerCount
from db.ops.logs import LogShipper
from db.queue import fair_share, lifecycle, planning, usage
from db.queue.planning import Plan
from db.queue.rebalance import balance
from jobs.errors import HubUnavailableError, InputError, UnavailableError
from jobs.inputs.data.examples import open_rows
from jobs.inputs.data.understood import Understood
from jobs.inputs.data.uploads import remove_unused
from jobs.processes import systemd
from jobs.processes.logs import bind_process, contained
from jobs.processes.traces import configure_traces, end_traces, span
from jobs.scheduling.plan import block_size, first_ranges
from jobs.settings import Settings
from jobs.specs.submission import parse_spec
from scheduler.broker import ANNOUNCE_SECONDS, delete_delivered, make_app, wake
from scheduler.heartbeat import SchedulerHeartbeat
from scheduler.notifications.delivery import Notifier
from scheduler.submission import recurring
from scheduler.submission.submit import Examples, check_size, gold_labels

log = structlog.get_logger()

PROCESSES_KEPT_SECONDS = 86_400.0
"""Time for which workers and schedulers are listed after their last heartbeat."""
PAUSE_SECONDS = 0.05
"""Least time between two rounds, whatever changes meanwhile."""
BALANCE_SECONDS = 1.0
BROKER_SECONDS = 2.0
"""Pause after a broker has taken no message."""
MAINTENANCE_SECONDS = 60.0
"""Time between two rounds of retention, and of removing old processes and messages."""
UPLOADS_SECONDS = 3_600.0
"""Time between two searches for uploads that no job refers to."""
SAMPLES_SECONDS = 15.0
"""Time between two looks whether a step of the samples has ended."""
SIZES_SECONDS = 0.1
"""Time for which one round measures jobs."""


class Scheduler:
    """Plans, dispatches, expires, sweeps and finishes, once per tick."""

    def __init__(self, settings: Settings, database: Database, app: Celery | None = None) -> None:
        self.settings = settings
        self.database = database
        self.app = app or make_app(settings)
        self.heartbeat: SchedulerHeartbeat | None = None
        self._announced: dict[str, float] = {}
        """Time of the last message to each queue without a live worker."""
        self._publishing = _Interval(BROKER_SECONDS)
        self._sessions = _Interval(BALANCE_SECONDS)
        self._balancing = _Interval(BALANCE_SECONDS)
        self._retention = _Interval(MAINTENANCE_SECONDS)
        self._cleanup = _Interval(MAINTENANCE_SECONDS)
        self._uploads = _Interval(UPLOADS_SECONDS)
        self._samples = _Interval(SAMPLES_SECONDS)
        self._thinning = _Interval(samples.HOUR)
        self._sizes = _Interval(MAINTENANCE_SECONDS)
        self._shared = False

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set, at every change that is heard of and once in a while.

        Waits for a database or broker that is unavailable.
        """
        self.heartbeat = heartbeat = SchedulerHeartbeat(self.settings, self.database, self.app)
        name = heartbeat.identity.name
        self.database.name_sessions(name)
        bind_process(scheduler=name)
        configure_traces(self.settings, "scheduler", fleet.trace_seed(self.database))
        shipper = LogShipper(
            self.database,
            name,
            seconds=self.settings.heartbeat_seconds,
            kept=self.settings.log_lines,
        )
        notifier = Notifier(self.settings, self.database)
        changes = changes_of(self.database)
        for thread in (heartbeat, shipper, notifier):
            thread.start()
        log.info("scheduler started", database=self.database.dialect)
        while not stop.is_set():
            began = time.monotonic()
            try:
                self.tick()
                heartbeat.round_ended()
            except UnavailableError as error:
                log.warning("waiting for a service", error=str(error))
                stop.wait(2.0)
            # Also without a database: a restart would not bring it back.
            systemd.went_on()
            # Rounds take half of the time at most: on SQLite each hears its own commits.
            tick = self.settings.tick_seconds
            pause = min(max(PAUSE_SECONDS, time.monotonic() - began), tick)
            stop.wait(pause)
            changes.wait(tick - pause, stop)
        log.info("scheduler stopped")
        for thread in (notifier, heartbeat, shipper):
            thread.close()
        changes.close()
        end_traces()

    def tick(self) -> None:
        """Run one round of every step."""
        with contained("end_sessions"):
            self._end_sessions()
        work = lifecycle.pending_work(self.database)
        steps: list[tuple[bool, Callable[[], None]]] = [
            (work.recur, self._recur),
            (work.plan, self.plan),
            (work.plan or not self._shared, self._share),
            (work.expire, self._expire),
            (work.sweep, self._sweep),
            (work.finish or work.sweep, self._finish),
            (work.empty, self._empty),
            (True, self.dispatch),
            (True, self._balance),
            (True, self._retain),
            (True, self._clean_up),
            (True, self._remove_uploads),
            (True, self._sample),
            (True, self._thin),
            (True, self._measure),
        ]
        for needed, step in steps:
            if needed:
                with contained(step.__name__.strip("_")):
                    step()

    def _recur(self) -> None:
        recurring.submit_due(self.settings, self.database)

    def _end_sessions(self) -> None:
        """End transactions of processes that are stopped, cut off or dead: others wait for them."""
        if not self._sessions.due:
            return
        self._sessions.restart()
        silence = fleet.patience(self.settings.heartbeat_seconds)
        for process in lifecycle.end_sessions_of_the_dead(self.database, silence):
            log.warning("the session of a silent process was ended", process=process)

    def _expire(self) -> None:
        for held in lifecycle.expire_leases(self.database):
            about = {"job": held.job_id, "shard": held.shard_no, "attempt": held.fence}
            log.warning("lease expired", **about)

    def _sweep(self) -> None:
        lifecycle.sweep_jobs(self.database)

    def _finish(self) -> None:
        for job_id in lifecycle.finish_jobs(self.database):
            log.info("job finished", job=job_id)

    def _empty(self) -> None:
        for job_id in deletion.empty_jobs(self.database):
            log.info("job deleted", job=job_id)

    def _share(self) -> None:
        """Store the rules of fair shares, and weigh jobs by them."""
        fair_share.write(self.database, self.settings.fair_share)
        self._shared = True

    def plan(self) -> None:
        """Divide every queued job into blocks and shards, loading its data first if needed."""
        for request in planning.take_plans(self.database):
            if self.heartbeat is not None:
                self.heartbeat.step_started(f"planning job {request.job_id}")
            try:
                with span("plan", request.job_id):
                    self._plan_one(request)
            except HubUnavailableError as error:
                wait = planning.plan_later(self.database, request.job_id, str(error))
                log.warning("waiting for the hub", job=request.job_id, wait=wait, error=str(error))
            except InputError as error:
                planning.fail_plan(self.database, request.job_id, str(error))
                log.warning("planning failed", job=request.job_id, error=str(error))
            except UnavailableError:
                raise
            except Exception as error:
                log.error("planning raised", job=request.job_id, exc_info=True)
                lifecycle.put_off(self.database, request.job_id, "planning", error)

    def _plan_one(self, request: planning.PlanRequest) -> None:
        spec = parse_spec(json.loads(request.spec))
        examples, fingerprint, understood, count = None, None, None, request.examples
        if not count:
            names = tuple(json.loads(request.labels))
            with open_rows(spec.data, self.settings) as rows:
                fingerprint, count = rows.summary.fingerprint, rows.summary.examples
                check_size(count, self.settings)
                gold = gold_labels(rows.summary, names, spec)
                understood = Understood.of(rows.summary, gold, names, spec.data)
                examples = list(Examples(rows, gold))
        own = planning.plan_kind(self.database, request, spec, examples)
        if own.examples is not None:
            count = len(own.examples)
        cost = own.cost or spec.cost(request.layers, request.heads)
        block = block_size(count, spec.unit_seconds * cost, request.layers)
        alive = self._workers().get(request.queue, NO_WORKERS).alive
        plan = Plan(
            bounds=first_ranges(count, block, alive),
            block=block,
            examples=examples,
            fingerprint=fingerprint,
            understood=understood.to_json() if understood else None,
            own=own,
        )
        if planning.write_plan(self.database, request.job_id, plan):
            log.info("job planned", job=request.job_id, block=block, examples=count)

    def dispatch(self) -> None:
        """Wake idle workers: one message per waiting block, at most one per idle worker.

        A queue without a live worker gets one message per half minute, for a worker that is just
        starting. Workers that are awake ask the database for the rest, and so do all a few times
        a minute: a round goes on without a broker.
        """
        if not self._publishing.due:
            return
        waiting = lifecycle.waiting_shards(self.database, ANNOUNCE_SECONDS, limit=100)
        if not waiting:
            return
        workers = self._workers()
        idle = Counter({queue: count.idle for queue, count in workers.items()})
        sent = []
        for shard in waiting:
            queue, live = shard.queue, shard.queue in workers
            messages = min(shard.blocks, idle[queue]) if live else int(self._may_announce(queue))
            if not self._wake(queue, messages):
                break
            if not messages:
                continue
            if live:
                idle[queue] -= messages
            else:
                self._announced[queue] = time.monotonic()
            sent.append(shard)
        # Marked after publishing: a crash in between means one wake-up too many, not one too few.
        if sent:
            lifecycle.mark_dispatched(self.database, sent)

    def _wake(self, queue: str, messages: int) -> bool:
        """Publish wake-ups; False if the broker takes none, which is tried again later."""
        try:
            for _ in range(messages):
                wake(self.app, queue)
        except UnavailableError as error:
            log.warning("no worker was woken", error=str(error))
            self._publishing.restart()
            return False
        return True

    def _may_announce(self, queue: str) -> bool:
        last = self._announced.get(queue, -ANNOUNCE_SECONDS)
        return time.monotonic() - last >= ANNOUNCE_SECONDS

    def _balance(self) -> None:
        """Give blocks that no worker has started to idle workers and jobs of higher priority."""
        if not self._balancing.due:
            return
        self._balancing.restart()
        idle = {queue: count.idle for queue, count in self._workers().items()}
        for held in balance(self.database, idle):
            about = {"job": held.job_id, "shard": held.shard_no, "attempt": held.fence}
            log.info("lease shortened", **about)

    def _retain(self) -> None:
        """Delete and purge what is due and return free space, a step per tick until all is done."""
        if not self._retention.due:
            return
        until = time.monotonic() + deletion.STEP_SECONDS
        more = retention.retain(self.database, self.settings.retention)
        if not more and not deletion.give_back(self.database, until):
            self._retention.restart()

    def _clean_up(self) -> None:
        """Remove processes that are long gone, delivered messages, and what has expired."""
        if not self._cleanup.due:
            return
        self._cleanup.restart()
        fleet.delete_unseen(self.database, PROCESSES_KEPT_SECONDS)
        attempt_counts.fold(self.database)
        usage.forget(self.database)
        notifications.forget(self.database)
        audit.remove_old(self.database, self.settings.audit_days)
        delete_delivered(self.settings)

    def _remove_uploads(self) -> None:
        """Remove uploads that no job refers to."""
        if not self._uploads.due:
            return
        self._uploads.restart()
        for digest in remove_unused(self.settings, lambda: uploads.in_use(self.database)):
            log.info("unused upload removed", upload=digest or "incomplete")

    def _sample(self) -> None:
        """Write what queues, workers and users did in the steps that have ended."""
        if self._samples.due:
            self._samples.restart()
            while samples.take(self.database, self.settings):
                pass

    def _thin(self) -> None:
        """Make hours of old steps, and delete old hours."""
        if self._thinning.due and not samples.thin(self.database, deletion.STEP_SECONDS):
            self._thinning.restart()

    def _measure(self) -> None:
        """Measure the space of jobs that have changed."""
        if self._sizes.due and not job_sizes.measure(self.database, SIZES_SECONDS):
            self._sizes.restart()

    def _workers(self) -> dict[str, WorkerCount]:
        """Count workers by queue."""
        grace = fleet.patience(self.settings.heartbeat_seconds)
        return fleet.count_workers(self.database, grace)


class _Interval:
    """The time that must pass between two runs of a step."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = -math.inf

    @property
    def due(self) -> bool:
        """True once that time has passed."""
        return time.monotonic() - self._last >= self.seconds

    def restart(self) -> None:
        """Measure from now on."""
        self._last = time.monotonic()
