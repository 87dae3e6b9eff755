"""headwise worker, scheduler and migrate: what they start, and what they refuse."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.commands import processes
from cli.supervisor import Child, Supervisor
from db.database import Database
from db.upgrades import OLDEST_CODE
from tests.cli.conftest import Headwise
from workers import batch
from workers.stop_conditions import StopConditions


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "gpu"], "--devices: is not a list of devices (given: 'gpu'). Write all"),
        (["--devices", "0,,1"], "--devices: is not a list of devices"),
        (["--devices", "0,2"], "there is no device 2 (given: '0,2'). There are devices 0 to 1."),
        (["--devices", "1,1"], "names a device twice"),
        (["--queues", "a,B c"], "--queues: 'B c' is not a queue name (given: 'a,B c')."),
        (["--max-shards", "0"], "Invalid value for '--max-shards'"),
        (["--max-seconds", "nan"], "Invalid value for '--max-seconds'"),
    ],
)
def test_bad_values_are_refused_in_one_line(
    headwise: Headwise, arguments: list[str], words: str
) -> None:
    ran = headwise("worker", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_up_takes_a_port_and_says_where_it_is_taken(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWISE_PORT", "1")  # also undone at the end
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = headwise("up", "--port", str(port))
    assert ran.status == 2
    assert f"(given: {port}). Stop the other process, or choose a free port" in ran.err
    started: list[str] = []
    supervised = lambda settings, _: started.append(settings.address)  # noqa: E731
    monkeypatch.setattr(processes, "supervise", supervised)
    assert headwise("up", "--port", str(port)).out.startswith(f"Dashboard: {started[0]} ")
    assert started == [f"http://127.0.0.1:{port}"]
    assert os.environ["HEADWISE_PORT"] == str(port)  # for the dashboard's process
    assert "'--port'" in headwise("up", "--port", "70000").err


def test_without_torch_there_is_no_worker(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda _: None)
    ran = headwise("worker")
    assert ran.status == 2
    assert ran.err == "headwise: A worker needs torch: run `make install` in the checkout.\n"


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    "command",
    [
        ["web"],
        ["scheduler"],
        ["worker"],
        ["worker", "--devices", "all"],
        ["worker", "--drain"],
        ["up"],
    ],
    ids=" ".join,
)
def test_traces_without_their_packages_start_nothing(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        if name == "opentelemetry.sdk":
            return None
        if name.startswith("opentelemetry"):  # nothing of it is there, not even the package above
            raise ModuleNotFoundError(name)
        return find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setenv("HEADWISE_OTLP_ENDPOINT", "http://collector:4318/v1/traces")
    ran = headwise(*command)
    assert (ran.status, ran.out) == (2, "")
    packages = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
    assert ran.err == (
        f"headwise: HEADWISE_OTLP_ENDPOINT: needs packages that are missing: "
        f"{packages.replace(' ', ', ')} (given: 'http://collector:4318/v1/traces'). "
        f"Install them: `pip install {packages}`; or leave it empty.\n"
    )


@pytest.mark.usefixtures("driver")
def test_each_device_gets_a_process_with_the_same_options(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def run(self: Supervisor) -> int:
        started.extend(self.children)
        return 1

    monkeypatch.setattr(Supervisor, "run", run)
    options = ["--queues=gpu,cpu", "--max-shards=3", "--max-seconds=60", "--drain"]
    assert headwise("worker", "--devices", "all", *options).status == 1
    assert [child.arguments for child in started] == [["worker", *options]] * 2
    assert [child.environment["CUDA_VISIBLE_DEVICES"] for child in started] == [
        "GPU-aaaa",
        "GPU-bbbb",
    ]
    assert all(child.once for child in started)


@pytest.mark.usefixtures("driver")
def test_one_device_needs_no_process_of_its_own(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")  # restored after the test

    def run_batch(settings: Any, conditions: StopConditions) -> int:
        seen.append((settings.device, os.environ["CUDA_VISIBLE_DEVICES"], conditions))
        return 0

    monkeypatch.setattr(batch, "run_batch", run_batch)
    assert headwise("worker", "--devices", "1", "--drain").status == 0
    assert seen == [("cuda", "7", StopConditions(drain=True))]


def test_the_scheduler_ends_on_sigterm(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "scheduler"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        assert "scheduler started" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "scheduler stopped" in rest


def test_a_file_migrates_itself_unless_it_must_not(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWISE_MIGRATE", "never")
    ran = headwise("jobs")
    assert (ran.status, ran.out) == (2, "")
    assert "there is no schema yet: run `headwise migrate`" in ran.err
    monkeypatch.delenv("HEADWISE_MIGRATE")
    assert headwise("jobs").status == 0


@pytest.mark.services
def test_an_empty_server_is_filled_and_an_older_one_is_left_to_migrate(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, empty_postgres_url: str
) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", empty_postgres_url)
    monkeypatch.setattr(processes, "SCHEMA_POLL_SECONDS", 0.01)
    assert headwise("jobs").status == 0
    database = Database(empty_postgres_url)
    with database.write() as tx:
        tx.run("UPDATE alembic_version SET version_num = '0004'")
    for command in (["jobs"], ["up"]):
        ran = headwise(*command)
        assert ran.status == 2
        assert "the schema is older (0004; this release needs" in ran.err
        assert "run `headwise migrate`" in ran.err
    assert "FAIL" in headwise("doctor").out
    with database.write() as tx:
        tx.run("UPDATE alembic_version SET version_num = '9999'")
        tx.run("UPDATE published SET oldest_code = '9999'")
    for command in ("scheduler", "migrate"):
        ran = headwise(command)
        assert ran.status == 2
        assert "upgrade headwise here" in ran.err
    with database.write() as tx:
        tx.run("UPDATE published SET oldest_code = :old", old=OLDEST_CODE)
    assert headwise("jobs").status == 0
    assert "still works on it" in headwise("migrate").out
    database.close()


@pytest.mark.services
@pytest.mark.usefixtures("restored_logs")
def test_a_service_waits_for_the_migration(
    monkeypatch: pytest.MonkeyPatch, empty_postgres_url: str, home: Path
) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", empty_postgres_url)
    monkeypatch.setenv("HEADWISE_MIGRATE", "never")
    database = Database(empty_postgres_url)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            database.migrate()

    monkeypatch.setattr(processes.time, "sleep", sleep)
    processes.prepare(processes.load_settings())
    assert len(waits) == 2
    database.close()
