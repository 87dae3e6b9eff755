"""The shipped alerts fire in the situations that they are for, and in no other.

Each situation is made in a database, scraped from /metrics, and given to Prometheus's own rule
engine (`promtool test rules`): half an hour in which all is well, then an hour and a half of it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from db.database import Database
from db.ops import attempt_counts, fleet
from db.ops.fleet import ProcessIdentity, ProcessState, Role, Vitals
from db.queue import claims, lifecycle
from jobs.errors import UnavailableError
from jobs.outcome import AttemptEnd, AttemptOutcome
from jobs.processes.report import Report
from jobs.processes.space import Space
from jobs.settings import load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import execute, sqlite_database
from tests.helpers.environment import missing
from tests.helpers.fleet import SAID, WHO, shift
from tests.helpers.jobs import ALICE, BOB, planned_job
from tests.helpers.services import binary

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs/monitoring/alerts.yaml"
SPACE = Space(place="data", folder="/data", disk=7, free=10**12, inodes=10**7)
WELL = Report(version="0.1.0", disks=(SPACE,), clock_offset=0.25)
WEB = ProcessIdentity(name="w", host="front", pid=3, role=Role.WEB, heartbeat_seconds=10)
USAGE = json.dumps({"memory": 5e8, "device_memory": 8e10, "device_reserved": 4e10})
BEFORE, AFTER = 30, 90
"""Minutes."""


def worker(database: Database, report: Report = WELL, who: Any = ALICE, **vitals: Any) -> None:
    about = Vitals(**{"resource_usage": USAGE, "report": report.to_json(), **vitals})
    fleet.report_worker(database, who, ProcessState.IDLE, None, 10, about)


def disk(**left: int) -> Callable[[Database], None]:
    return lambda database: worker(database, replace(WELL, disks=(replace(SPACE, **left),)))


def reports(**changed: Any) -> Callable[[Database], None]:
    return lambda database: worker(database, replace(WELL, **changed))


def scheduler(**said: Any) -> Callable[[Database], None]:
    return lambda database: fleet.report_scheduler(database, WHO, **{**SAID, **said}, own=WELL)


def silent(table: str) -> Callable[[Database], None]:
    return lambda database: shift(database, table, "seen_at", 1_000)


def no_worker(database: Database) -> None:
    fleet.report_worker(database, ALICE, ProcessState.STOPPED)


def another_queue(database: Database) -> None:
    planned_job(database, queue="large")


def one_dead(database: Database) -> None:
    worker(database, who=BOB)
    execute(database, "UPDATE worker SET seen_at = seen_at - 1000 WHERE name = 'bob'")


def waited(database: Database) -> None:
    execute(database, "UPDATE job SET started_at = started_at - 7200")
    execute(database, "UPDATE shard SET available_at = available_at - 7200")


def failed(database: Database) -> None:
    job = planned_job(database, examples=2)
    ended = "UPDATE job SET state = 'failed', finished_at = {clock} WHERE id = :job"
    execute(database, ended, job=job)


def attempts(count: int, outcome: AttemptOutcome, **end: int) -> Callable[[Database], None]:
    def make(database: Database) -> None:
        key = {"job_id": 1, "shard_no": 0, "fence": 1}
        with database.write() as tx:
            for _ in range(count):
                attempt_counts.add(tx, key, AttemptEnd(outcome=outcome, seconds=1.0, **end))

    return make


def lost(database: Database) -> None:
    """As the scheduler takes shards back from silent workers."""
    planned_job(database, examples=8, size=1)
    for _ in range(6):
        held = claims.claim(database, ALICE, 60)
        assert held is not None
        assert lifecycle.take_back(database, held, "silent")


def console(database: Database) -> None:
    broken = replace(WELL, console_error="no password")
    fleet.report_process(database, WEB, ProcessState.RUNNING, broken)


def supervised(database: Database) -> None:
    """Of a process that never gets as far as a heartbeat."""
    failing = replace(WELL, failing={"worker 2": 5})
    fleet.report_process(database, WEB, ProcessState.RUNNING, failing)


def away(database: Database) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise UnavailableError("gone")

    database.read = gone  # type: ignore[method-assign, assignment]


@dataclass(frozen=True)
class Situation:
    name: str
    make: Callable[[Database], object]
    fires: frozenset[str]
    """Names without Headwise, of all that fire."""
    minutes: int = 2
    """After which it is looked at; more than the rule waits for."""


def fires(*names: str) -> frozenset[str]:
    return frozenset(names)


SITUATIONS = (
    Situation("all is well", lambda _: None, fires(), 80),
    Situation("no scheduler", silent("scheduler"), fires("NoScheduler"), 3),
    Situation("a scheduler that hangs", scheduler(still=100.0), fires("NoScheduler"), 3),
    Situation("no broker", scheduler(broker_error="refused"), fires("BrokerDown"), 4),
    Situation("no worker", no_worker, fires("NoWorkers", "QueueWithoutWorkers"), 7),
    Situation("a queue without workers", another_queue, fires("QueueWithoutWorkers"), 7),
    Situation("one dead worker", one_dead, fires("WorkerDied")),
    Situation("it died long ago", one_dead, fires(), 40),
    Situation("a crash loop", reports(failures=3), fires("CrashLoop"), 3),
    Situation("two failures", reports(failures=2), fires(), 20),
    Situation("a supervised crash loop", supervised, fires("CrashLoop"), 3),
    Situation("a full disk", disk(free=10**8), fires("DiskFull"), 3),
    Situation("no inodes", disk(inodes=10), fires("DiskFull"), 3),
    Situation("little space", disk(free=2 * 10**9), fires("DiskLow"), 12),
    Situation("few inodes", disk(inodes=5_000), fires("DiskLow"), 12),
    Situation("a hung worker", lambda d: worker(d, still=400.0), fires("WorkerStalled"), 7),
    Situation("a queue that waits", waited, fires("QueueWaits"), 12),
    Situation("a failed job", failed, fires("JobsFail")),
    Situation("commit errors", reports(commit_errors=2), fires("CommitErrors")),
    Situation("leases lost", lost, fires("LeasesLost"), 5),
    # Both dashboards count the same four.
    Situation("few lost", attempts(4, AttemptOutcome.LOST), fires(), 5),
    Situation("errors", attempts(12, AttemptOutcome.ERROR), fires("Errors"), 5),
    Situation(
        "failed examples",
        attempts(3, AttemptOutcome.DONE, examples=10, failed=4),
        fires("ExamplesFail"),
        12,
    ),
    Situation("a wrong clock", reports(clock_offset=-40.0), fires("ClockOff"), 12),
    Situation("an unfinished upgrade", reports(version="0.0.9"), fires("ReleasesDiffer"), 70),
    Situation("a broken console", console, fires("ConsoleBroken"), 12),
    Situation(
        "a full GPU",
        lambda d: worker(
            d, resource_usage=json.dumps({"device_memory": 8e10, "device_reserved": 7.9e10})
        ),
        fires("GpuMemory"),
        12,
    ),
    Situation("no database", away, fires("DatabaseDown"), 3),
)

Series = dict[str, float]


@contextmanager
def installation(folder: Path) -> Iterator[tuple[FlaskClient, Database]]:
    """A dashboard over a fleet that is well: a scheduler, a worker, and a job that waits."""
    sqlite_database(folder / "headwise.sqlite").close()
    app = new_app(load_settings({}, home=folder))
    database: Database = app.extensions["headwise"].database
    planned_job(database)
    # Counters that have counted before.
    for outcome in AttemptOutcome:
        attempts(1, outcome, examples=100)(database)
    scheduler()(database)
    worker(database)
    yield app.test_client(), database
    database.close()


def scrape(client: FlaskClient) -> Series:
    """Values by series as Prometheus writes them, of two dashboards that are scraped."""
    client.application.extensions["headwise-metrics"]._seconds = 0.0
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        series(sample.name, {**sample.labels, "job": "headwise", "instance": instance}): value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        for instance in ("10.0.0.1:8600", "10.0.0.2:8600")
        if (value := sample.value) == value
    } | {series("up", {"job": "headwise", "instance": "10.0.0.1:8600"}): 1.0}


def series(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ", ".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}"


def values(key: str, before: Series, after: Series) -> str:
    """A value each minute, in promtool's notation."""

    def part(found: Series, minutes: int) -> str:
        if key not in found:
            return f"_x{minutes}" if found is before else f"stale _x{minutes - 1}"
        return f"{found[key]:f}+0x{minutes - 1}"

    return f"{part(before, BEFORE)} {part(after, AFTER)}"


def as_test(one: Situation, before: Series, after: Series) -> dict[str, Any]:
    expected = [
        {"labels": f'{{alertname="Headwise{name}"}}', "value": 1} for name in sorted(one.fires)
    ]
    return {
        "name": one.name,
        "interval": "1m",
        "input_series": [
            {"series": key, "values": values(key, before, after)}
            for key in sorted({*before, *after})
        ],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{BEFORE + one.minutes}m",
                "exp_samples": expected,
            }
        ],
    }


def test_alerts_fire_in_their_situations_alone(tmp_path: Path) -> None:
    if (promtool := binary("promtool")) is None:
        missing("promtool (Debian's package prometheus)")
    tests = []
    for number, one in enumerate(SITUATIONS):
        with installation(tmp_path / str(number)) as (client, database):
            before = scrape(client)
            one.make(database)
            tests.append(as_test(one, before, scrape(client)))
    down = Situation("no dashboard", away, fires("Down"), 4)
    gone = {key: 0.0 for key in before if key.startswith("up{")}
    tests.append(as_test(down, before, gone))
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    ran = subprocess.run(
        [str(promtool), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6_000:]


def test_every_alert_has_a_situation() -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    named = {name for one in SITUATIONS for name in one.fires} | {"Down"}
    assert {rule["alert"] for rule in rules} == {f"Headwise{name}" for name in named}
