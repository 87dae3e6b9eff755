"""Structured logs: every line names its job, shard, attempt and worker, and none has a password.

Lines go to standard error. Those about a job are also kept in memory until `db.ops.logs` writes
them to the database from a thread of its own, and the last ones of an attempt for the attempt's
row.
"""

from __future__ import annotations

import itertools
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import structlog

from jobs.errors import UnavailableError
from jobs.processes.captured import Lines, capture
from jobs.settings import Settings

PENDING_LINES = 2_000
"""Most lines that wait in memory for the database; the oldest are dropped."""
LONGEST_LINE = 4_000
"""Most characters of a stored line; the middle of longer ones is cut out."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
SETTLE_SECONDS = 2.0
"""Age of the newest lines that followers get: transactions that began before have ended by then."""
HIDDEN = "***"

_PATTERNS = (
    re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s'\"]*(?=@)"),
    re.compile(r"(?i)\b(password|passwd|pgpassword)(=)\S+"),
)
_COLUMNS = frozenset("event timestamp level job shard attempt worker scheduler exception".split())
"""Keys of an event that have a column or are not stored; the others become its details."""
_process: dict[str, object] = {}
_secrets: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Line:
    """A log line about a job."""

    number: int
    """Ascending within the process."""
    job: int
    shard: int | None
    attempt: int | None
    emitted: float
    """The time by this process's monotonic clock."""
    level: int
    event: str
    details: str


def as_text(line: Mapping[str, Any]) -> str:
    """Format a line of a log that is read; a traceback has its own lines."""
    when = datetime.fromtimestamp(line["at"], UTC).isoformat(timespec="milliseconds")
    place = "" if line["shard"] is None else f" shard={line['shard']} attempt={line['attempt']}"
    text = f"{line['event']} {line['details']}".rstrip()
    return f"{when} {line['level']:<7} {line['source']}{place} {text}"


class Pending:
    """A bounded, thread-safe buffer of lines about jobs that are not in the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._lines: deque[Line] = deque()
        self._dropped = 0

    def add(self, level: str, event: str, details: str, about: Mapping[str, Any]) -> None:
        """Add a line if it is about a job."""
        job, shard, attempt = (about.get(key) for key in ("job", "shard", "attempt"))
        if not isinstance(job, int):
            return
        with self._lock:
            line = Line(
                number=next(self._numbers),
                job=job,
                shard=shard if isinstance(shard, int) else None,
                attempt=attempt if isinstance(attempt, int) else None,
                emitted=time.monotonic(),
                level=LEVELS.get(level, LEVELS["info"]),
                event=event,
                details=details,
            )
            self._lines.append(line)
            self._shorten()

    def take(self, most: int) -> list[Line]:
        """Remove and return the oldest lines; if some were dropped, the first line says so."""
        with self._lock:
            taken = [self._lines.popleft() for _ in range(min(most, len(self._lines)))]
            if taken and self._dropped:
                dropped: dict[str, Any] = {
                    "number": taken[0].number - 1,
                    "level": LEVELS["warning"],
                    "event": "the database was unavailable or slow: log lines were dropped",
                    "details": f"dropped={self._dropped}",
                }
                taken.insert(0, replace(taken[0], **dropped))
                self._dropped = 0
            return taken

    def put_back(self, lines: Sequence[Line]) -> None:
        """Put lines back that could not be stored."""
        with self._lock:
            self._lines.extendleft(reversed(lines))
            self._shorten()

    def _shorten(self) -> None:
        while len(self._lines) > PENDING_LINES:
            self._lines.popleft()
            self._dropped += 1


pending = Pending()
"""The lines of this process."""


def bind_process(**values: object) -> None:
    """Add values to every line that this process logs from now on, in any thread."""
    _process.update(values)


@contextmanager
def about_attempt(job: int, shard: int, attempt: int) -> Iterator[None]:
    """Name the attempt on every line while the block runs; a worker has one at a time."""
    bind_process(job=job, shard=shard, attempt=attempt)
    try:
        yield
    finally:
        for key in ("job", "shard", "attempt"):
            _process.pop(key, None)


def redact(text: str) -> str:
    """Replace passwords in `text`: those of the settings, and any that stands in an address."""
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    text = _PATTERNS[0].sub(rf"\1:{HIDDEN}", text)
    return _PATTERNS[1].sub(rf"\1\2{HIDDEN}", text)


def configure_logs(settings: Settings) -> None:
    """Log to standard error, as console lines or JSON; includes the standard library's logging."""
    _secrets[:] = _passwords(settings.database, settings.broker, settings.console_url)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
        structlog.processors.format_exc_info,
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    below = sys.stderr.below if isinstance(sys.stderr, Lines) else sys.stderr
    handler = logging.StreamHandler(below)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(_Redacting(foreign_pre_chain=shared, processors=[remove, _keep, last]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("alembic", "httpx", "celery.utils.functional", "kombu", "urllib3", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Redacting(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _passwords(*addresses: str) -> list[str]:
    """Return the passwords in addresses, as written and decoded, longest first.

    A password that equals the user, host or database of its address is left out, and so hidden
    only within addresses: replacing every `headwise` would hide nothing and spoil every line.
    """
    found: set[str] = set()
    for address in addresses:
        head, at, tail = address.rpartition("@")
        if not at or ":" not in (login := head.rpartition("//")[2]):
            continue
        user, _, password = login.partition(":")
        meant = unquote(password)
        plain = {user, *re.split(r"[/:?]", tail), urlsplit(address).scheme}
        if len(meant) >= 4 and meant not in plain:
            found |= {password, meant, quote(meant, safe=""), repr(meant)[1:-1]}
            found.add(meant.replace("\\", "\\\\").replace('"', '\\"'))
    return sorted(found, key=len, reverse=True)


def _add_process(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in _process.items():
        event.setdefault(key, value)
    return event


def _keep(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the line for the database."""
    details = " ".join(f"{key}={value}" for key, value in event.items() if key not in _COLUMNS)
    if exception := event.get("exception"):
        details = f"{details}\n{exception}".lstrip("\n")
    level, text = str(event.get("level", "info")), _stored(str(event["event"]))
    details = _stored(details)
    pending.add(level, text, details, event)
    return event


def _stored(text: str) -> str:
    """Make text that every database accepts: no NUL, valid UTF-8, of bounded length."""
    text = redact(text).replace("\0", "").encode("utf-8", "replace").decode()
    if len(text) > LONGEST_LINE:
        half = LONGEST_LINE // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters ...\n{text[-half:]}"
    return text


def configure_service_logs(settings: Settings) -> None:
    """Set up the logs of a process that runs on its own: as JSON, every line of it is."""
    configure_logs(settings)
    if settings.log_format == "json":
        capture()


def logs_are_captured() -> bool:
    """Tell whether all that this process says is logged as JSON."""
    return isinstance(sys.stderr, Lines)


@contextmanager
def contained(step: str, **about: object) -> Iterator[None]:
    """Log whatever a step raises, so that one job, or one step, does not stop the others.

    UnavailableError passes: without its database nothing can go on.
    """
    try:
        yield
    except UnavailableError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the others go on
        structlog.get_logger().error(f"{step} raised", exc_info=True, **about)
