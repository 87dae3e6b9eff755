"""The scheduler: a loop of small idempotent steps. Any number of them may run at once."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter

import structlog
from celery import Celery

from db.database import Database
from db.ops import attempt_counts, deletion, fleet, retention
from db.ops.logs import LogShipper
from db.queue import lifecycle
from db.queue.rebalance import balance
from jobs.errors import HubUnavailableError, InputError, UnavailableError
from jobs.inputs.data import read_rows
from jobs.logs import bind_process
from jobs.plan import block_size, first_ranges
from jobs.settings import Settings
from jobs.specs.submission import parse_spec
from jobs.traces import configure_traces, end_traces, span
from scheduler.broker import ANNOUNCE_SECONDS, forget_delivered, make_app, wake
from scheduler.heartbeat import Pulse
from scheduler.submission import recurring
from scheduler.submission.submit import check_size, example_rows

log = structlog.get_logger()

WORKERS_KEPT_SECONDS = 86_400.0
BALANCE_SECONDS = 1.0


class Scheduler:
    """Plans, wakes, expires, sweeps and finishes, once per tick."""

    def __init__(self, settings: Settings, database: Database, app: Celery | None = None) -> None:
        self.settings = settings
        self.database = database
        self.app = app or make_app(settings)
        self.pulse: Pulse | None = None
        self._knocked: dict[str, float] = {}
        self._tidied = -math.inf
        self._retained = -math.inf
        self._balanced = -math.inf

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. A database that is away is waited for."""
        self.pulse = pulse = Pulse(self.settings, self.database, self.app)
        bind_process(scheduler=pulse.who.name)
        configure_traces(self.settings, "scheduler", fleet.trace_seed(self.database))
        shipper = LogShipper(
            self.database,
            pulse.who.name,
            seconds=self.settings.heartbeat_seconds,
            kept=self.settings.log_lines,
        )
        pulse.start()
        shipper.start()
        log.info("scheduler started", database=self.database.dialect)
        while not stop.is_set():
            try:
                self.tick()
                pulse.moved()
            except UnavailableError as error:
                log.warning("waiting for a service", error=str(error))
                stop.wait(2.0)
            stop.wait(self.settings.tick_seconds)
        log.info("scheduler stopped")
        pulse.close()
        shipper.close()
        end_traces()

    def tick(self) -> None:
        """One round of every step."""
        work = lifecycle.pending_work(self.database)
        if work.recur:
            recurring.submit_due(self.settings, self.database)
        if work.plan:
            self.plan()
        if work.expire:
            for held in lifecycle.expire_leases(self.database):
                about = {"job": held.job_id, "shard": held.shard_no, "attempt": held.fence}
                log.warning("lease expired", **about)
        if work.sweep:
            lifecycle.sweep_jobs(self.database)
        if work.finish or work.sweep:
            for job_id in lifecycle.finish_jobs(self.database):
                log.info("job finished", job=job_id)
        if work.empty:
            for job_id in deletion.empty_jobs(self.database):
                log.info("job deleted", job=job_id)
        self.dispatch()
        self._balance()
        self._retain()
        self._tidy()

    def plan(self) -> None:
        """Cut every queued job into shards; load its data first where it is on the hub."""
        for request in lifecycle.take_plans(self.database):
            if self.pulse is not None:
                self.pulse.doing(f"planning job {request.job_id}")
            try:
                with span("plan", request.job_id):
                    self._plan_one(request)
            except HubUnavailableError as error:
                wait = lifecycle.plan_later(self.database, request.job_id, str(error))
                log.warning("waiting for the hub", job=request.job_id, wait=wait, error=str(error))
            except InputError as error:
                lifecycle.fail_plan(self.database, request.job_id, str(error))
                log.warning("planning failed", job=request.job_id, error=str(error))

    def _plan_one(self, request: lifecycle.PlanRequest) -> None:
        spec = parse_spec(json.loads(request.spec))
        examples, fingerprint, count = None, None, request.examples
        if not count:
            rows = read_rows(spec.data, self.settings)
            examples = list(example_rows(rows, tuple(json.loads(request.labels)), spec))
            fingerprint, count = rows.fingerprint(), len(rows)
            check_size(count, self.settings)
        prepared = lifecycle.prepare(self.database, request, spec, examples)
        if prepared.examples is not None:
            count = len(prepared.examples)
        cost = prepared.cost or spec.cost(request.layers, request.heads)
        block = block_size(count, spec.unit_seconds * cost, request.layers)
        _, alive = self._workers().get(request.queue, (0, 0))
        bounds = first_ranges(count, block, alive)
        if lifecycle.write_plan(
            self.database, request.job_id, bounds, examples, fingerprint, prepared, block
        ):
            log.info("job planned", job=request.job_id, block=block, examples=count)

    def dispatch(self) -> None:
        """Wake idle workers: one message per block that waits, at most one per idle worker.

        A queue without a live worker gets one message per half minute, for a worker that is only
        just starting: a worker that is awake asks the database for the rest.
        """
        waiting = lifecycle.waiting_shards(self.database, ANNOUNCE_SECONDS, limit=100)
        if not waiting:
            return
        workers = self._workers()
        room = Counter({queue: idle for queue, (idle, _) in workers.items()})
        sent = []
        for queue, job_id, shard_no, blocks in waiting:
            knocking = queue not in workers and self._may_knock(queue)
            wanted = 1 if knocking else min(blocks, room[queue])
            for _ in range(wanted):
                wake(self.app, queue)
            if knocking:
                self._knocked[queue] = time.monotonic()
            else:
                room[queue] -= wanted
            if wanted:
                sent.append((job_id, shard_no))
        # Marked after publishing: dying in between means one wake-up too many, not one too few.
        if sent:
            lifecycle.mark_dispatched(self.database, sent)

    def _balance(self) -> None:
        """Let idle workers and jobs of higher priority have what others have not begun."""
        if time.monotonic() - self._balanced < BALANCE_SECONDS:
            return
        self._balanced = time.monotonic()
        idle = {queue: count for queue, (count, _) in self._workers().items()}
        for held in balance(self.database, idle):
            about = {"job": held.job_id, "shard": held.shard_no, "attempt": held.fence}
            log.info("lease shortened", **about)

    def _may_knock(self, queue: str) -> bool:
        return time.monotonic() - self._knocked.get(queue, -ANNOUNCE_SECONDS) >= ANNOUNCE_SECONDS

    def _retain(self) -> None:
        """Delete and purge what is due, and give space back: once a minute, in steps."""
        if time.monotonic() - self._retained < 60:
            return
        until = time.monotonic() + deletion.STEP_SECONDS
        more = retention.retain(self.database, self.settings.kept)
        if not more and not deletion.give_back(self.database, until):
            self._retained = time.monotonic()

    def _tidy(self) -> None:
        """Forget long-gone workers and delivered messages, once a minute."""
        if time.monotonic() - self._tidied < 60:
            return
        self._tidied = time.monotonic()
        lifecycle.prune_workers(self.database, WORKERS_KEPT_SECONDS)
        fleet.prune_schedulers(self.database, WORKERS_KEPT_SECONDS)
        attempt_counts.fold(self.database)
        forget_delivered(self.settings)

    def _workers(self) -> dict[str, tuple[int, int]]:
        grace = fleet.patience(self.settings.heartbeat_seconds)
        return lifecycle.idle_workers(self.database, grace)
