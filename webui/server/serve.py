"""The dashboard's process: uvicorn's event loop, and the application's threads."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import tempfile

import uvicorn
from flask import Flask

from db.ops import fleet
from jobs.settings import Settings
from jobs.traces import configure_traces, end_traces
from webui.app import create_app
from webui.server.connections import MOST_CONNECTIONS, Connection
from webui.server.gateway import Gateway

STOP_SECONDS = 2
"""For requests to end once the process is asked to."""
KEEP_ALIVE_SECONDS = 10
"""Pages ask again every second, hidden ones every five."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, and end the process: threads may hold long requests."""
    _raise_limit()
    if settings.scratch is not None:
        tempfile.tempdir = str(settings.scratch)  # of bodies, and of uploads within them
    app = create_app(settings)
    configure_traces(settings, "web", fleet.trace_seed(app.extensions["headwise"].database))
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
    end_traces()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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
