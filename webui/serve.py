"""The dashboard behind gunicorn: one process, with as many threads as the database's pool has
connections."""

from __future__ import annotations

from typing import Any

from gunicorn.app.base import BaseApplication

from db.ops import fleet
from jobs.settings import Settings
from jobs.traces import configure_traces
from webui.app import create_app


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        host = self.settings.host
        options: dict[str, Any] = {
            "bind": f"{f'[{host}]' if ':' in host else host}:{self.settings.port}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": 16,
            "keepalive": 10,  # pages ask again every second, hidden ones every five
            "graceful_timeout": 2,
            "timeout": 60,
            "loglevel": "warning",
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - a heartbeat file, never data
            "control_socket_disable": True,
        }
        for key, value in options.items():
            if key in self.cfg.settings:
                self.cfg.set(key, value)

    def load(self) -> Any:
        app = create_app(self.settings)
        database = app.extensions["headwise"].database
        configure_traces(self.settings, "web", fleet.trace_seed(database))
        return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    _Server(settings).run()
