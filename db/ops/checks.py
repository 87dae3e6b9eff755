"""Health checks: they take a bounded time and never raise."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from jobs.errors import HeadwiseError

T = TypeVar("T")

OK, BAD, UNKNOWN = "ok", "bad", "unknown"
SECONDS = 5.0
MOST_WAITING = 8
"""Most checks of this process that may wait for the database at a time."""

_free = threading.BoundedSemaphore(MOST_WAITING)


@dataclass(frozen=True, kw_only=True)
class Health:
    """The result of a check."""

    state: str
    """ok, bad, or unknown if the database did not answer."""
    message: str

    @property
    def ok(self) -> bool:
        """True if the process is healthy."""
        return self.state == OK


def schema_health(database: Database) -> Health:
    """Check that the database answers and has this code's schema. Raises UnavailableError."""
    if database.schema_is_current():
        return Health(state=OK, message="the database answers")
    return Health(state=BAD, message=f"the database cannot be used: {database.describe_schema()}")


class Latest(Generic[T]):
    """The latest value of something that is read from the database, within bounded time.

    One thread reads at a time: while the database hangs, more questions cost nothing more.

    read: may raise HeadwiseError and SQLAlchemyError
    seconds: age up to which a value is not read again
    """

    def __init__(self, read: Callable[[], T], seconds: float = 0.0) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._done.set()
        self._value: T | None = None
        self._read_at = -math.inf
        self._error: str | None = None

    def get(self, patience: float) -> tuple[T | None, str | None]:
        """Return the value, or an older one with the reason that it is not newer.

        patience: longest wait, in seconds
        """
        with self._lock:
            if self._error is None and time.monotonic() - self._read_at < self._seconds:
                return self._value, None
            if self._done.is_set():
                self._done = threading.Event()
                # A daemon thread: a database that hangs must not keep the process from exiting.
                threading.Thread(target=self._renew, name="latest", daemon=True).start()
            done = self._done
        in_time = done.wait(patience)
        with self._lock:
            late = f"the database does not answer within {patience:g} s"
            return self._value, self._error if in_time else late

    @property
    def age(self) -> float:
        """Seconds since the value was read; infinite before the first time."""
        return time.monotonic() - self._read_at

    def _renew(self) -> None:
        done = self._done
        try:
            value = self._read()
            with self._lock:
                self._value, self._read_at, self._error = value, time.monotonic(), None
        except (HeadwiseError, SQLAlchemyError) as error:
            with self._lock:
                self._error = f"{type(error).__name__}: {error}"[:300]
                if isinstance(error, HeadwiseError):
                    self._error = str(error)
        finally:
            done.set()


def in_time(check: Callable[[], Health], seconds: float = SECONDS) -> Health:
    """Run a check; the result is unknown if it takes longer or its database does not answer."""
    found: list[Health] = []
    late = Health(state=UNKNOWN, message=f"the database does not answer within {seconds:g} s")
    if not _free.acquire(blocking=False):
        return late

    def run() -> None:
        try:
            found.append(check())
        except HeadwiseError as error:
            found.append(Health(state=UNKNOWN, message=str(error)))
        except SQLAlchemyError as error:
            found.append(Health(state=UNKNOWN, message=f"{type(error).__name__}: {error}"[:300]))
        finally:
            _free.release()

    # A daemon thread: a database that drops packets must not keep the process from exiting.
    thread = threading.Thread(target=run, name="health check", daemon=True)
    thread.start()
    thread.join(timeout=seconds)
    return found[0] if found else late
