"""Commands that run processes: up, worker, scheduler, web."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from cli.context import out
from cli.supervisor import Child, Supervisor
from db.database import Database
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
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    database.migrate()
    database.close()
    return settings


def children(workers: int) -> list[Child]:
    """The processes of a whole system on one machine."""
    fleet = [
        Child(name=f"worker {number}" if workers > 1 else "worker", arguments=["worker"])
        for number in range(1, workers + 1)
    ]
    return [
        Child(name="scheduler", arguments=["scheduler"]),
        Child(name="dashboard", arguments=["web"]),
        *fleet,
    ]


def up(workers: Workers = 1) -> None:
    """Start dashboard, scheduler and workers, and keep them alive until Ctrl-C."""
    settings = prepare()
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
