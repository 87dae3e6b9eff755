"""Commands that run processes: up, worker, scheduler, web.

Each imports its own process alone: a dashboard has no use for Celery, nor the memory for it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from cli.context import admit, make_home, out, unfit
from cli.devices import environments
from cli.supervisor import Child, Supervisor
from db.database import Database
from db.ops.fleet import Role
from db.ops.heartbeat import ProcessHeartbeat
from db.upgrades import SchemaState
from jobs.errors import InputError, UnavailableError, refuse
from jobs.processes.logs import configure_service_logs
from jobs.processes.traces import check_traces
from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from workers.stop_conditions import StopConditions

log = structlog.get_logger()

Workers = Annotated[int, typer.Option(min=1, max=64, help="Worker processes to start.")]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port of the dashboard. Default: HEADWISE_PORT."),
]
SCHEMA_SECONDS = 300.0
"""Time that a service waits for `headwise migrate` before it gives up."""
SCHEMA_POLL_SECONDS = 2.0


def prepare(settings: Settings, patience: float = SCHEMA_SECONDS) -> Settings:
    """Set up logs, the data folder and the database before a process starts.

    It waits for an older schema to be migrated: in a rolling upgrade, processes may start before
    the migration has ended. Raises InputError and UnavailableError.
    """
    configure_service_logs(settings)
    check_traces(settings)
    make_home(settings)
    database = Database(settings.database)
    try:
        deadline = time.monotonic() + patience
        while not (state := admit(settings, database)).fits:
            if state is SchemaState.TOO_NEW or time.monotonic() >= deadline:
                raise unfit(database)
            log.warning("waiting for a migration", database=database.describe_schema())
            time.sleep(SCHEMA_POLL_SECONDS)
    finally:
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
    """Check that the dashboard's port is free. Raises InputError."""
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
                "Stop the other process, or choose a free port: HEADWISE_PORT, or `up --port`.",
            ) from None


def up(workers: Workers = 1, port: Port = None) -> int:
    """Start dashboard, scheduler and workers, and keep them alive until Ctrl-C."""
    if port is not None:
        os.environ["HEADWISE_PORT"] = str(port)  # also that of the dashboard's process
    settings = service_settings()
    settings.check_sign_in()
    prepare(settings, patience=0)
    check_port(settings)
    address = f"http://{settings.host}:{settings.port}"
    if settings.log_format == "json":
        log.info("dashboard", address=address, data=str(settings.home))
    else:
        out.print(f"Dashboard: {address}   Data: {settings.home}")
    return supervise(settings, children(workers))


def supervise(settings: Settings, started: Sequence[Child]) -> int:
    """Keep processes alive until told to stop, and report those that keep failing."""
    supervisor = Supervisor(started)
    database = Database(settings.database)
    heartbeat = ProcessHeartbeat(
        settings, database, Role.SUPERVISOR, lambda: {"failing": supervisor.failing}
    )
    heartbeat.start()
    try:
        return supervisor.run()
    finally:
        heartbeat.close()
        database.close()


def worker(
    devices: Annotated[
        str,
        typer.Option(
            help="Devices, one process for each: all, cpu, or e.g. 0,1. Default: one process on "
            "HEADWISE_DEVICE."
        ),
    ] = "",
    queues: Annotated[
        str, typer.Option(help="Queues to serve, separated by commas. Default: HEADWISE_QUEUES.")
    ] = "",
    max_shards: Annotated[
        int | None, typer.Option(min=1, help="End after this number of shards (per process).")
    ] = None,
    max_seconds: Annotated[
        int | None,
        typer.Option(
            min=1, help="End after this number of seconds; a running shard is handed back."
        ),
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="End when no shard is ready.")] = False,
) -> int:
    """Run a worker. On SIGTERM it hands back its shard.

    With --max-shards, --max-seconds or --drain it polls the database and needs no broker.
    """
    if importlib.util.find_spec("torch") is None:
        raise UnavailableError("A worker needs torch: run `make install` in the checkout.")
    from workers.stop_conditions import StopConditions

    places = environments(devices) if devices else [{}]
    settings = prepare(serving(queues))
    conditions = StopConditions(shards=max_shards, seconds=max_seconds, drain=drain)
    if len(places) > 1:
        return supervise(settings, workers_on(places, settings, conditions))
    os.environ.update(places[0])
    device = places[0].get("HEADWISE_DEVICE", settings.device)
    settings = settings.model_copy(update={"device": device})
    if not conditions.any:
        from workers.celery_worker import run_worker

        return run_worker(settings)
    from workers.batch import run_batch  # imports torch

    return run_batch(settings, conditions)


def service_settings() -> Settings:
    """The settings of a process of its own. Raises InputError, which is logged as asked."""
    try:
        return load_settings()
    except InputError:
        if os.environ.get("HEADWISE_LOG_FORMAT") == "json":
            configure_service_logs(Settings(log_format="json"))
        raise


def serving(queues: str) -> Settings:
    """The settings, with `queues` in place of theirs if given. Raises InputError."""
    settings = service_settings()
    if not queues:
        return settings
    try:
        return load_settings(queues=queues)
    except InputError as error:
        renamed = [replace(problem, field="--queues") for problem in error.problems]
        raise InputError(renamed) from None


def workers_on(
    places: Sequence[Mapping[str, str]], settings: Settings, conditions: StopConditions
) -> list[Child]:
    """A worker process for each of the devices, which are environment variables."""
    arguments = ["worker", f"--queues={settings.served_queues}"]
    arguments += [] if conditions.shards is None else [f"--max-shards={conditions.shards}"]
    arguments += [] if conditions.seconds is None else [f"--max-seconds={conditions.seconds}"]
    arguments += ["--drain"] if conditions.drain else []
    return [
        Child(name=f"worker {number}", arguments=arguments, environment=place, once=conditions.any)
        for number, place in enumerate(places)
    ]


def scheduler() -> None:
    """Run the scheduler. Several may run at once."""
    from scheduler.loop import Scheduler

    settings = prepare(service_settings())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Scheduler(settings, Database(settings.database)).run(stop)


def web() -> None:
    """Serve the dashboard and the API."""
    from webui.server.serve import serve  # Flask and uvicorn, needed by this command only

    settings = service_settings()
    settings.check_sign_in()
    serve(prepare(settings))
