"""Structured logs, and the tail of an attempt's log that is stored with it."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from jobs.settings import Settings

TAIL_LINES = 50

_tails: list[deque[str]] = []


@contextmanager
def log_tail() -> Iterator[deque[str]]:
    """Collect the last lines that this process logs while the block runs."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    _tails.append(tail)
    try:
        yield tail
    finally:
        _tails.remove(tail)


def configure_logs(settings: Settings) -> None:
    """Log to standard error, as console lines or JSON; standard logging goes the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            *shared,
            _keep_tail,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("alembic", "httpx", "celery.utils.functional", "kombu", "urllib3", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _keep_tail(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if _tails:
        skip = ("event", "timestamp", "level")
        details = " ".join(f"{key}={value}" for key, value in event.items() if key not in skip)
        line = f"{event.get('timestamp')} {event.get('level')} {event['event']} {details}".rstrip()
        for tail in _tails:
            tail.append(line)
    return event
