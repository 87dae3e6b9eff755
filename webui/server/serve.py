"""The dashboard's process: uvicorn's event loop, and the application's threads."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import tempfile
import time

import uvicorn
from flask import Flask

from db.console.console import find_fault
from db.ops import fleet
from db.ops.fleet import Role
from db.ops.heartbeat import ProcessHeartbeat
from jobs.processes.traces import configure_traces, end_traces
from jobs.settings import Settings
from webui.app import create_app
from webui.server.connections import MOST_CONNECTIONS, MOST_HEAD, Connection
from webui.server.gateway import Gateway

STOP_SECONDS = 2
"""For requests to end once the process is asked to."""
CONSOLE_SECONDS = 300.0
KEEP_ALIVE_SECONDS = 10
"""Pages ask again every second, hidden ones every five."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, and end the process: threads may hold long requests."""
    _raise_limit()
    if settings.scratch is not None:
        tempfile.tempdir = str(settings.scratch)  # of bodies, and of uploads within them
    app = create_app(settings)
    database = app.extensions["headwise"].database
    configure_traces(settings, "web", fleet.trace_seed(database))
    console = ConsoleWatch(settings)
    heartbeat = ProcessHeartbeat(settings, database, Role.WEB, console.known)
    heartbeat.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops at them by itself, and then raises them once more.
        signal.signal(number, lambda *_: None)
    compile_templates(app)
    status = 0
    gateway = Gateway(app)
    try:
        make_server(gateway, settings).run()
    except SystemExit as error:  # the port is taken
        status = int(error.code or 0)
    gateway.close()
    heartbeat.close()
    end_traces()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class ConsoleWatch:
    """Tries the SQL console every few minutes: each try is a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tried_at = -CONSOLE_SECONDS
        self._error: str | None = None

    def known(self) -> dict[str, str | None]:
        """Its part of the dashboard's report."""
        if time.monotonic() - self._tried_at >= CONSOLE_SECONDS:
            self._error, self._tried_at = find_fault(self._settings), time.monotonic()
        return {"console_error": self._error}


def compile_templates(app: Flask) -> None:
    """Compile every page now: it takes up to a second on a busy machine, which nobody waits for."""
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)


def make_server(gateway: Gateway, settings: Settings) -> uvicorn.Server:
    """The server, ready to run."""
    config = uvicorn.Config(
        gateway,
        host=settings.host,
        port=settings.port,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=MOST_HEAD,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)


def _raise_limit() -> None:
    """Allow as many open files as there may be connections, and what the application opens."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS + 1_000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
