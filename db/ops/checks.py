"""Health checks: they take a bounded time and never raise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from jobs.errors import HeadwiseError

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


def web_health(database: Database, seconds: float = SECONDS) -> Health:
    """Check that the database answers and has this code's schema."""
    return in_time(lambda: _schema(database), seconds)


def _schema(database: Database) -> Health:
    if database.schema_is_current():
        return Health(state=OK, message="the database answers")
    return Health(state=BAD, message=f"the database cannot be used: {database.describe_schema()}")


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
