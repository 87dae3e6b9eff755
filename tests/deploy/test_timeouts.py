"""docs/reference/timeouts.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import db.database as database
from cli import supervisor
from cli.commands import processes
from db.console import process as console
from jobs.inputs import hub
from jobs.inputs.data import uploads
from jobs.inputs.models import tokenizing
from jobs.settings import Settings, load_settings
from scheduler import broker
from webui.server import bodies, connections, serve
from workers import batch, celery_worker, heartbeat, worker

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([^|]+) \| ([\d, ]+) \|([^|]*)\| [^|]+ \|$", re.MULTILINE)
ROWS = {
    what: (found, setting.strip())
    for what, found, setting in ROW.findall(
        (ROOT / "docs/reference/timeouts.md").read_text(encoding="utf-8")
    )
}


def test_a_setting_has_the_default_that_the_page_names() -> None:
    settings = load_settings({})
    named = {setting: value for value, setting in ROWS.values() if setting.startswith("`HEADWISE_")}
    assert len(named) == 6
    for setting, value in named.items():
        name = setting.strip("`").removeprefix("HEADWISE_").lower()
        assert name in Settings.model_fields
        assert getattr(settings, name) == float(value)


def seconds(value: str) -> float:
    """Seconds of a setting of PostgreSQL."""
    number, unit = re.fullmatch(r"(\d+)(s|min)", value).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit == "min" else 1)


def test_a_fixed_time_is_that_of_the_code() -> None:
    (pausing,) = re.findall(r"'(\w+)'", database.WRITING)
    fixed = {
        "a worker's thread that hangs in foreign code, beyond that": heartbeat.DEAD_MAN_SECONDS,
        "an idle worker that no message wakes": celery_worker.CHECK_SECONDS,
        "a worker that is told to end at once (SIGQUIT)": celery_worker.COLD_SECONDS,
        "an answer of the broker": broker.ANSWER_SECONDS,
        "a draining worker without work, or without the database": batch.PATIENCE_SECONDS,
        "a worker's results while the database is away": worker.STORE_SECONDS,
        "the hub, while a job is submitted": hub.SECONDS,
        "a tokenizer, and each batch of 256 texts": tokenizing.SECONDS,
        "an upload that no job names": uploads.UNUSED_SECONDS,
        "a connection to PostgreSQL": database.CONNECTION["connect_timeout"],
        "bytes that the server does not confirm": database.CONNECTION["tcp_user_timeout"] / 1000,
        "a lock on PostgreSQL": seconds(database.SESSION["lock_timeout"]),
        "a statement on PostgreSQL": seconds(database.SESSION["statement_timeout"]),
        "a transaction that writes and pauses": seconds(pausing),
        "SQLite's write lock": database.BUSY_SECONDS,
        "`headwise migrate` by another, at the start of a process": processes.SCHEMA_SECONDS,
        "a connection to the broker": broker.make_app(load_settings({})).conf[
            "broker_connection_timeout"
        ],
        "a shard that was announced and not claimed": broker.ANNOUNCE_SECONDS,
        "the head of a request": connections.HEAD_SECONDS,
        "a body that comes with less than 50 kB/s": bodies.GRACE_SECONDS,
        "a reader that takes nothing": connections.STALL_SECONDS,
        "a whole answer": connections.ANSWER_SECONDS,
        "a connection without a request": serve.KEEP_ALIVE_SECONDS,
        "a child of `headwise up` or `worker --devices` after SIGTERM": supervisor.STOP_SECONDS,
    }
    for what, value in fixed.items():
        assert float(ROWS[what][0]) == value, what
    assert bodies.SLOWEST == 50_000
    assert hub.AWAY_SECONDS == 30
    assert console.GRACE_SECONDS["postgresql"] == 2


def test_a_time_to_stop_is_that_of_the_files() -> None:
    found = []
    for role in ("web", "scheduler", "worker@"):
        unit = (ROOT / f"deploy/systemd/headwise-{role}.service").read_text(encoding="utf-8")
        found += re.findall(r"TimeoutStopSec=(\d+)", unit)
    dashboard, scheduler, own = found
    assert dashboard == scheduler
    assert ROWS["systemd: dashboard and scheduler, worker"][0] == f"{dashboard}, {own}"
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["worker"]["stop_grace_period"] == f"{ROWS['compose: a worker'][0]}s"
    deployed = yaml.safe_load((ROOT / "deploy/kubernetes/worker.yaml").read_text(encoding="utf-8"))
    grace = deployed["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert ROWS["Kubernetes: a worker"][0] == str(grace)
    script = (ROOT / "deploy/slurm/headwise-array.sh").read_text(encoding="utf-8")
    assert f"--signal=USR1@{ROWS['SLURM: before the time limit'][0]}\n" in script
