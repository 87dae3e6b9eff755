"""The thread of a scheduler that writes and delivers notifications, whatever receivers do."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from db.database import Database
from db.ops import conditions, fleet, notifications
from db.ops.fleet import ProcessState
from db.ops.notifications import Delivery
from headwise.errors import in_words
from jobs.errors import UnavailableError
from jobs.processes.logs import contained
from jobs.settings import Settings
from scheduler.notifications.messages import message
from scheduler.notifications.sending import Outcome, send

log = structlog.get_logger()

EVERY_SECONDS = 2.0
AT_ONCE = 4
DEAD_SECONDS = 600.0
"""A worker that was silent for longer when a scheduler comes back is no news."""
EXAMINED_SECONDS = 20.0
"""Time between two looks at the condition of the installation."""


class Notifier:
    """Writes the notifications of what has ended, and delivers those that are due."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self._stop = threading.Event()
        self._examined = -math.inf
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the deliveries that are under way, or leave them to the next scheduler."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                with contained("notifications"):
                    self.round()
            except UnavailableError as error:
                log.warning("waiting for the database", error=str(error))

    def round(self) -> int:
        """Write and deliver what there is; returns the number of deliveries tried."""
        notifications.write_ended(self.database)
        if time.monotonic() - self._examined >= EXAMINED_SECONDS:
            self._examined = time.monotonic()
            if notifications.wants_conditions(self.database):
                self._examine()
        taken = notifications.take(self.database, AT_ONCE)
        if not taken:
            return 0
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notification") as pool:
            list(pool.map(self._deliver, taken))
        return len(taken)

    def _examine(self) -> None:
        """Write the problems of the installation: lasting conditions, and workers that died."""
        wrong: dict[str, str] = {}
        for one in conditions.notices(self.database, self.settings):
            wrong.setdefault(one.what, f"{one.message} {one.remedy}".strip())
        dead = {
            worker.name: f"Worker {worker.name} on {worker.host} is dead: it was killed, or its "
            "machine or network failed. Its shard goes to another."
            for worker in fleet.list_workers(self.database, self.settings)
            if worker.condition is ProcessState.DEAD and worker.silent < DEAD_SECONDS
        }
        notifications.tell_conditions(self.database, wrong, dead)

    def _outcome(self, one: Delivery) -> Outcome:
        words = message(self.database, one, self.settings.address)
        if words is None:
            return Outcome(error="its job, study or process was deleted", final=True)
        return send(one.address, one.secret, words, one.id, self.settings)

    def _deliver(self, one: Delivery) -> None:
        about = {"notification": one.id, "about": one.event}
        try:
            outcome = self._outcome(one)
        except UnavailableError:
            raise
        except Exception as error:
            log.error("a notification raised", **about, exc_info=True)
            outcome = Outcome(error=in_words(error))
        if outcome.error is None:
            notifications.delivered(self.database, one)
            log.info("notification sent", **about)
            return
        wait = notifications.not_delivered(self.database, one, outcome.error, final=outcome.final)
        log.warning("notification not sent", **about, error=outcome.error, again_in=wait)
