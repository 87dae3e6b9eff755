"""A short part of the fuzzer, and the proof that it would notice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import Mock

import pytest
from werkzeug.routing import Rule

from db.console.sqlite_process import Guard
from tests.fuzz import api, console, contract, data, siege
from tests.fuzz.grammar import Grammar
from tests.fuzz.report import Report

SECONDS = 600.0
"""Long before, each part has had its inputs: how many do not depend on the machine."""


def run(dialect: str, folder: Path, server: str, most: int) -> Report:
    """Fuzz one database, in a process whose memory no other test has used."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_run, dialect, folder, server, most).result()


def _run(dialect: str, folder: Path, server: str, most: int) -> Report:
    report = Report(part="console", most=most)
    console.fuzz(report, dialect, folder, server, 1, SECONDS)
    return report


def test_sqlite_keeps_its_secrets(tmp_path: Path) -> None:
    report = run("sqlite", tmp_path, "", 700)
    assert report.broken == []
    assert report.outcomes["accepted"] > 10
    assert report.outcomes["table"] > 10
    assert report.outcomes["http 400"] + report.outcomes["http 200"] > 0
    assert report.peaks.keys() == {"child", "web"}


@pytest.mark.services
def test_postgresql_keeps_its_secrets(tmp_path: Path, postgres_server: str) -> None:
    report = run("postgresql", tmp_path, postgres_server, 400)
    assert report.broken == []
    assert report.outcomes["accepted"] > 5
    assert report.outcomes["table"] > 5
    assert report.outcomes["function"] > 0


def test_an_escape_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "__call__", lambda *_: 0)  # an authorizer that allows everything
    monkeypatch.setattr("db.console.sqlite_process._SHADOW", "SELECT 1")
    report = Report(part="console")
    with console.made("sqlite", tmp_path, "") as (database, settings):
        one = console.Run(report, database, settings)
        one._fast("SELECT 1 FROM jobs")
        assert report.broken == []
        one._fast("SELECT idempotency_key FROM (SELECT NULL AS x) n FULL JOIN job ON 1 = 1")
        one.close()
    [broken] = report.broken
    assert "escape of job.idempotency_key" in broken


def test_no_request_breaks_a_route() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report = pool.submit(api.run, 1, SECONDS, 600).result()
    assert report.broken == []
    assert report.outcomes["http 200"] > 10
    assert report.outcomes["http 400"] > 10
    assert report.outcomes["not sent"] < report.inputs / 10


def test_a_fault_of_a_route_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.pages.jobs.job.render_template", lambda *_, **__: 1 // 0)
    report = Report(part="api", most=60)
    with api.made(tmp_path) as app:
        [jobs] = [rule for rule in app.url_map.iter_rules() if rule.rule == "/"]
        api.fuzz(report, app, api.Requests([jobs], 1), time.monotonic() + SECONDS)
    assert any(one.startswith("status 500, ZeroDivisionError") for one in report.broken)


def test_no_data_file_breaks_a_reader() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report = pool.submit(data.run, 1, SECONDS, 200).result()
    assert report.broken == []
    for outcome in ("read", "refused", "in the limited process", "in this process"):
        assert report.outcomes[outcome] > 0


def test_a_fault_of_a_reader_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.inputs.data.formats._sniffed", lambda _: 1 // 0)
    report = Report(part="data", most=40)
    data.fuzz(report, tmp_path, data.Files(1), time.monotonic() + SECONDS)
    assert any(one.startswith("ZeroDivisionError") for one in report.broken)


def _run_models(seed: int) -> Report:
    from tests.fuzz import models  # torch: not in the processes of the other parts

    return models.run(seed, SECONDS, 25)


def test_no_model_folder_breaks_a_worker() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report = pool.submit(_run_models, 1).result()
    assert report.broken == []
    assert report.inputs == 25
    assert report.peaks.keys() == {"process"}


def test_a_fault_of_loading_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import models

    monkeypatch.setattr("headwise.load", Mock(side_effect=IndexError("index out of range")))
    monkeypatch.setattr(models, "peak_mb", lambda: 0)  # other tests have used this process
    report = models.run(1, SECONDS, 1)
    assert report.inputs == 1
    [broken] = report.broken
    assert "loading: IndexError: index out of range" in broken


def test_a_siege_leaves_pages_and_memory(tmp_path: Path) -> None:
    report = Report(part="siege")
    besieged = siege.besiege(report, tmp_path, seed=1, seconds=1, megabytes=4)
    assert report.broken == []
    assert {"/", "/jobs/new", "/jobs/1/examples/0", "/healthz"} <= besieged.slowest.keys()
    assert report.outcomes["page 200"] >= 20
    assert report.outcomes["slow socket"] >= siege.SOCKETS / 2
    assert any(outcome.startswith("query") for outcome in report.outcomes)


def test_memory_and_hangs_under_siege_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siege, "WEB_MB", 50)
    monkeypatch.setattr(siege, "HANG_SECONDS", 0.001)
    monkeypatch.setattr(siege, "QUERIES", 0)
    monkeypatch.setattr(siege, "UPLOADS", 0)
    monkeypatch.setattr(siege, "SOCKETS", 0)
    report = Report(part="siege")
    siege.besiege(report, tmp_path, seed=1, seconds=0)
    assert any(one.startswith("memory of the dashboard") for one in report.broken)
    assert any(one.startswith("/jobs/new: TimeoutError") for one in report.broken)


def test_requests_name_what_the_pages_read_and_repeat() -> None:
    pages, models = {"shard_page", "after", "at"}, {"limit", "offset", "tau_last"}
    assert pages | models <= set(api.PARAMETERS)
    rules = [Rule("/jobs/<int:job_id>", methods=["GET", "POST"])]
    first, again = (api.Requests(rules, 7) for _ in range(2))
    one, other = (
        [re.sub(r"0x[0-9a-f]+", "", str(made.next()))[:200] for _ in range(20)]
        for made in (first, again)
    )
    assert one == other


def test_a_seed_repeats_its_queries() -> None:
    first, again, other = (Grammar("sqlite", seed) for seed in (7, 7, 8))
    queries = [first.query() for _ in range(50)]
    assert [again.query() for _ in range(50)] == queries
    assert [other.query() for _ in range(50)] != queries
    began = time.monotonic()
    for _ in range(1_000):
        first.query()
    assert time.monotonic() - began < 20


CONTRACT_SECONDS = 6.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a dashboard on SQLite."""
    with contract.served(tmp_path_factory.mktemp("contract")) as port:
        yield port


def test_the_api_keeps_its_contract(tmp_path: Path, port: int) -> None:
    report = Report(part="contract")
    contract.fuzz(report, port, tmp_path, 1, CONTRACT_SECONDS)
    assert report.broken == []
    assert report.inputs > 0


@pytest.mark.services
def test_the_api_keeps_its_contract_on_postgresql(tmp_path: Path, postgres_server: str) -> None:
    report = Report(part="contract")
    with (
        contract.postgresql(postgres_server) as url,
        contract.served(tmp_path / "home", url) as port,
    ):
        contract.fuzz(report, port, tmp_path, 2, CONTRACT_SECONDS)
    assert report.broken == []
    assert report.inputs > 0


def test_a_broken_contract_would_be_noticed(tmp_path: Path, port: int) -> None:
    written = (Path(__file__).parents[2] / "docs/reference/openapi.json").read_text(
        encoding="utf-8"
    )
    document = json.loads(written)
    document["components"]["schemas"]["JobPage"]["properties"]["total"] = {"type": "string"}
    document["paths"] = {"/api/v1/jobs": {"get": document["paths"]["/api/v1/jobs"]["get"]}}
    report = Report(part="contract")
    contract.fuzz(report, port, tmp_path, 1, 600, document, phases="coverage")
    assert any("JsonSchemaError" in one and "GET /api/v1/jobs" in one for one in report.broken)
