"""Spans of different processes are in one trace per job; without the setting there is nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from db.database import Database
from db.ops import fleet
from jobs.errors import UnavailableError
from jobs.processes import traces
from jobs.processes.traces import configure_traces, end_traces, span
from jobs.settings import Settings, load_settings
from scheduler.loop import Scheduler
from tests.helpers.jobs import planned_job
from tests.helpers.stack import Stack
from workers.worker import Worker


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    yield InMemorySpanExporter()
    end_traces()


def begin(service: str, exporter: InMemorySpanExporter, database: Database) -> None:
    """As a process of its own would."""
    seed = fleet.trace_seed(database)
    configure_traces(Settings(), service, seed, SimpleSpanProcessor(exporter))


def traced(span: ReadableSpan) -> tuple[str, int]:
    assert span.context is not None
    return span.name, span.context.trace_id


def test_a_job_is_one_trace_from_submit_to_commit(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    stack = Stack(tmp_path)
    begin("web", exporter, stack.database)
    job = stack.submit(6)
    begin("scheduler", exporter, stack.database)
    Scheduler(stack.settings, stack.database).plan()
    begin("worker", exporter, stack.database)
    assert Worker(stack.settings, stack.database).compute_shards() >= 1
    spans = exporter.get_finished_spans()
    names = [one.name for one in spans]
    assert {"submit", "plan", "shard", "commit"} == set(names)
    assert len({traced(one)[1] for one in spans}) == 1
    assert {one.attributes["headwise.job"] for one in spans if one.attributes} == {job}
    shard = next(one for one in spans if one.name == "shard")
    commit = next(one for one in spans if one.name == "commit")
    assert commit.parent is not None
    assert shard.context is not None
    assert commit.parent.span_id == shard.context.span_id
    assert dict(shard.attributes or {}) == {
        "headwise.job": job,
        "headwise.shard": 0,
        "headwise.attempt": 1,
    }
    stack.stop()


def test_other_jobs_have_other_traces(
    database: Database, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("worker", exporter, database)
    for job in (planned_job(database), planned_job(database)):
        with span("shard", job):
            pass
    assert len({traced(one)[1] for one in exporter.get_finished_spans()}) == 2

    def away(_: int) -> str:
        raise UnavailableError("gone")

    monkeypatch.setattr(traces, "_seed", away)
    with span("shard", 1):
        pass
    assert len(exporter.get_finished_spans()) == 3


def test_without_the_setting_nothing_is_imported() -> None:
    code = (
        "import sys; from jobs.processes import traces; from jobs.settings import Settings;"
        "traces.configure_traces(Settings(), 'worker', str)\n"
        "with traces.span('shard', 1): pass\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_with_the_setting_spans_go_to_its_address() -> None:
    settings = load_settings({"HEADWISE_OTLP_ENDPOINT": "http://127.0.0.1:1/v1/traces"})
    configure_traces(settings, "web", str)
    assert traces._tracer is not None
    end_traces()
    assert traces._tracer is None
