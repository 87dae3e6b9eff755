"""/metrics of a whole fleet, what is built on it, and health that neither blocks nor breaks."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from db.database import Database
from db.ops import checks, fleet
from db.ops.checks import UNKNOWN, Health
from db.ops.fleet import ProcessState
from db.queue import claims
from db.results import commit
from jobs.errors import UnavailableError
from jobs.processes.report import Report
from jobs.processes.space import Space
from tests.helpers.fleet import SAID, WHO
from tests.helpers.jobs import ALICE, completed, planned_job
from tests.helpers.statements import queries

ROOT = Path(__file__).parents[2]
GPU = json.dumps(
    {
        "memory": 5e8,
        "cpu": 1.5,
        "device_memory": 8e10,
        "device_reserved": 4e10,
        "device_allocated": 3e10,
        "device_peak": 3.5e10,
        "device_use": 0.9,
    }
)


REPORT = Report(
    version="1.2.3",
    disks=(Space(place="data", folder="/d", disk=1, free=7 * 10**9, inodes=5 * 10**6),),
    clock_offset=-0.5,
    failures=3,
    commit_errors=2,
    lost_leases=1,
)


@pytest.fixture
def busy(database: Database) -> None:
    """A fleet in the middle of work: shards in several states, counts of every outcome."""
    planned_job(database, examples=10, size=2)
    planned_job(database, examples=2, size=2, queue="large")
    for outcome in ("done", "error", "hand back", "hold"):
        held = claims.claim(database, ALICE, 60)
        assert held is not None
        if outcome == "done":
            assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
        elif outcome == "error":
            claims.record_error(database, held, "boom", permanent=True)
        elif outcome == "hand back":
            claims.hand_back(database, held, "pause")
        else:
            vitals = fleet.Vitals(resource_usage=GPU, report=REPORT.to_json())
            fleet.report_worker(database, ALICE, ProcessState.BUSY, held, 10, vitals)
    fleet.report_scheduler(database, WHO, **SAID)


Key = tuple[str, frozenset[str]]


def samples(client: FlaskClient) -> dict[Key, float]:
    """Values by name and values of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_database(busy: None, client: FlaskClient) -> None:
    found = samples(client)

    def number(name: str, *labels: str) -> float:
        return found[f"headwise_{name}", frozenset(labels)]

    place = ("default", "attribution")
    assert number("jobs", "running") == 2
    assert number("jobs", "failed") == 0
    states = {state: number("shards", "default", state) for state in ("ready", "leased", "done")}
    assert states == {"ready": 2, "leased": 1, "done": 1}
    assert number("shards", "large", "ready") == 1
    assert number("oldest_waiting_shard_seconds", "large") >= 0
    assert number("attempts_total", *place, "done") == 1
    assert number("attempts_total", *place, "error") == 1
    assert number("attempts_total", *place, "handed-back") == 1
    assert number("examples_total", *place) == 2
    assert number("examples_failed_total", *place) == 0
    assert number("head_scores_total", *place) == 12
    assert number("retries_total", *place) == 0
    assert number("shard_seconds_bucket", *place, "1") == 1
    assert number("shard_seconds_bucket", *place, "+Inf") == 1
    assert number("shard_seconds_sum", *place) == 0.5
    assert number("workers", "busy") == 1
    assert number("schedulers", "running") == 1
    assert number("queue_workers", "default") == 1
    assert number("queue_workers", "large") == 0
    assert number("disk_free_bytes", "h", "data", "/d") == 7e9
    assert number("disk_free_inodes", "h", "data", "/d") == 5e6
    assert number("clock_offset_seconds", "h") == -0.5
    assert number("worker_commit_errors_total", "alice", "h", "cpu") == 2
    assert number("worker_lost_leases_total", "alice", "h", "cpu") == 1
    assert number("process_failures", "h", "worker") == 3
    assert number("processes", "worker", "1.2.3") == 1
    assert number("condition", "crash loops") == 2
    assert number("recently_ended_jobs", "failed") == 0
    assert number("broker_up") == number("database_up") == 1
    assert number("worker_memory_bytes", "alice", "h", "cpu") == 5e8
    assert number("worker_device_use_ratio", "alice", "h", "cpu") == 0.9


def test_many_scrapes_cost_one_look(
    busy: None, client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.extensions["headwise-metrics"]._seconds = 3_600.0
    first = samples(client)

    def never(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("db.ops.metrics.read_numbers", never)
    age = ("headwise_metrics_age_seconds", frozenset[str]())
    assert {**samples(client), age: 0.0} == {**first, age: 0.0}


def test_a_scrape_is_a_handful_of_queries(busy: None, app: Flask, client: FlaskClient) -> None:
    with queries(app.extensions["headwise"].database) as sent:
        client.get("/metrics")
    assert 0 < len(sent) <= 7


def test_metrics_say_that_the_database_is_away(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise UnavailableError("gone")

    monkeypatch.setattr("db.ops.metrics.read_numbers", away)
    found = samples(client)
    assert found["headwise_database_up", frozenset()] == 0
    assert [key for key in found if key[0] == "headwise_build_info"]
    monkeypatch.undo()
    assert samples(client)["headwise_database_up", frozenset()] == 1
    client.application.extensions["headwise-metrics"]._seconds = 0.0
    monkeypatch.setattr("db.ops.metrics.read_numbers", away)
    found = samples(client)
    assert found["headwise_database_up", frozenset()] == 0
    assert found["headwise_condition", frozenset({"database"})] == 2
    assert found["headwise_jobs", frozenset({"running"})] == 0, "what was read before"


NAME = re.compile(r"\bheadwise_\w+")


def expressions() -> Iterator[str]:
    dashboard = json.loads((ROOT / "docs/monitoring/grafana.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    rules = (ROOT / "docs/monitoring/alerts.yaml").read_text(encoding="utf-8")
    yield from re.findall(r"^\s+expr: '(.*)'$", rules, flags=re.MULTILINE)


def test_dashboard_and_alerts_use_metrics_that_exist(busy: None, client: FlaskClient) -> None:
    known = {key[0] for key in samples(client)}
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(used) > 15
    assert used - known == set()


def test_labels_of_dashboard_and_alerts_exist(busy: None, client: FlaskClient) -> None:
    families = text_string_to_metric_families(client.get("/metrics").text)
    labels = {s.name: set(s.labels) for family in families for s in family.samples}
    values = {label for key in samples(client) for label in key[1]} | {"lost"}
    for expression in expressions():
        for name, inside in re.findall(r"(headwise_\w+)\{([^}]*)\}", expression):
            for label, value in re.findall(r"(\w+)=~?\"([^\"]*)\"", inside):
                assert label in labels[name], expression
                assert set(value.split("|")) <= values, expression


def test_every_metric_and_alert_is_explained(busy: None, client: FlaskClient) -> None:
    page = (ROOT / "docs/howto/operations.md").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(client.get("/metrics").text):
        assert f"`{family.name}" in page, family.name
    rules = (ROOT / "docs/monitoring/alerts.yaml").read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) > 8
    for alert in alerts:
        assert f"| {alert} |" in page


# Health.


def test_a_check_ends_in_time_and_never_raises(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(database, "schema_is_current", lambda: hangs.wait(60))

    def look(seconds: float) -> Health:
        return checks.in_time(lambda: checks.schema_health(database), seconds)

    found = look(0.05)
    assert (found.state, "within 0.05 s" in found.message) == (UNKNOWN, True)
    for _ in range(checks.MOST_WAITING + 2):
        assert look(0.01).state == UNKNOWN
    hangs.set()

    def away() -> bool:
        raise UnavailableError("gone")

    monkeypatch.setattr(database, "schema_is_current", away)
    while look(60).message != "gone":
        pass


def test_the_latest_value_is_read_by_one_thread_at_a_time() -> None:
    goes, broken, started = threading.Event(), threading.Event(), []

    def read() -> str:
        started.append(True)
        if broken.is_set():
            raise UnavailableError("gone")
        assert goes.wait(60)
        return "value"

    latest = checks.Latest(read)
    assert latest.get(0.01) == (None, "the database does not answer within 0.01 s")
    assert latest.get(0.01)[0] is None
    assert (len(started), latest.age) == (1, float("inf"))
    goes.set()
    assert latest.get(60) == ("value", None)
    assert latest.age < 60
    broken.set()
    assert latest.get(60) == ("value", "gone")
    broken.clear()
    assert latest.get(60) == ("value", None)


def test_not_ready_is_said_with_its_reason(
    client: FlaskClient, database: Database, app: Flask
) -> None:
    with database.write() as tx:
        tx.run("UPDATE alembic_version SET version_num = '0001'")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["status"] == "bad"
    assert "cannot be used" in answer.json["reason"]
    with database.write() as tx:
        tx.run("DROP TABLE alembic_version")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_ready_lists_what_is_wrong_elsewhere(client: FlaskClient, database: Database) -> None:
    planned_job(database)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (200, "ready")
    levels = answer.json["conditions"]
    assert (levels["scheduler"], levels["workers"], levels["disk"]) == ("fail", "fail", "ok")
