"""Commands that run processes: up, worker, scheduler, web."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from cli.context import out
from cli.supervisor import Child, Supervisor
from db.database import Database
from jobs.errors import refuse
from jobs.logs import configure_logs
from jobs.settings import Settings, load_settings
from scheduler.service import Scheduler
from workers.celery_worker import run_worker

Workers = Annotated[int, typer.Option(min=1, max=64, help="Worker processes to start.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, worker, scheduler, web):
        app.command(rich_help_panel="Processes")(command)


def prepare() -> Settings:
    """Settings, logs and an up-to-date database, checked before a process starts."""
    settings = load_settings()
    configure_logs(settings)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}"
        raise refuse("HEADWISE_HOME", str(settings.home), reason, "Choose another.") from None
    database = Database(settings.database)
    database.migrate()
    database.close()
    return settings


def children(workers: int, log_folder: Path | None = None) -> list[Child]:
    """The processes of a whole system on one machine."""
    commands = {"scheduler": "scheduler", "dashboard": "web"}
    commands |= {f"worker {number}": "worker" for number in range(1, workers + 1)}
    return [
        Child(name=name, arguments=[command], log_folder=log_folder)
        for name, command in commands.items()
    ]


def check_port(settings: Settings) -> None:
    """Raises InputError when the dashboard's port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise refuse(
                "HEADWISE_PORT",
                settings.port,
                f"cannot listen on {settings.host}: {error.strerror}",
                "Stop the other process, or set HEADWISE_PORT to a free port.",
            ) from None


def up(workers: Workers = 1) -> None:
    """Start dashboard, scheduler and workers, and keep them alive until Ctrl-C."""
    settings = prepare()
    check_port(settings)
    out.print(f"Dashboard: http://{settings.host}:{settings.port}   Data: {settings.home}")
    Supervisor(children(workers)).run()


def worker() -> int:
    """Run one worker. SIGTERM lets it hand back its shard."""
    return run_worker(prepare())


def scheduler() -> None:
    """Run the scheduler; more than one may run."""
    settings = prepare()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Scheduler(settings, Database(settings.database)).run(stop)


def web() -> None:
    """Serve the dashboard and the API."""
    from webui.serve import serve  # Flask and gunicorn, needed by this command only

    serve(prepare())
