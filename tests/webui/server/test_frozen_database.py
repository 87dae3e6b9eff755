"""A database that takes connections and never answers: operators still get theirs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database
from jobs.settings import Settings, load_settings
from tests.helpers import services
from tests.helpers.apps import new_app
from tests.helpers.environment import missing
from tests.helpers.jobs import planned_job
from tests.helpers.ports import free_port
from tests.helpers.stack import children_of
from tests.webui.server.conftest import Reply, Site


def started(home: Path, url: str) -> Site:
    """A dashboard on a database that does not change meanwhile, but is asked at every scrape."""
    settings: Settings = load_settings({}, home=home, database_url=url, port=free_port())
    site = Site(new_app(settings), settings)
    site.app.extensions["headwise-metrics"]._seconds = 0.0
    site.start()
    return site


def stop(site: Site) -> None:
    site.stop()
    site.app.extensions["headwise"].database.close()


def everything(site: Site) -> dict[str, Reply]:
    return {path: site.get(path) for path in ("/metrics", "/readyz", "/healthz")}


def values(reply: Reply) -> dict[str, str]:
    assert reply.status == 200
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in lines}


@pytest.fixture
def server() -> Iterator[services.PostgreSQL]:
    if programs := services.PostgreSQL.missing():
        missing(programs)
    folder = Path(tempfile.mkdtemp(prefix="headwise-test-"))
    server = services.PostgreSQL(folder)
    try:
        server.create()
        server.start()
        server.await_answer()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def signal_all(server: services.PostgreSQL, number: int) -> None:
    assert server.process is not None
    for pid in (server.process.pid, *children_of(server.process.pid)):
        os.kill(pid, number)


@pytest.mark.services
def test_scrapes_and_probes_of_a_frozen_database_end(
    tmp_path: Path, server: services.PostgreSQL
) -> None:
    database = Database(server.url)
    database.migrate()
    planned_job(database)
    database.close()
    site = started(tmp_path, server.url)
    running = 'headwise_jobs{state="running"}'
    try:
        assert values(site.get("/metrics"))[running] == "1.0"
        assert site.get("/readyz").status == 200
        signal_all(server, signal.SIGSTOP)
        try:
            before = threading.active_count()
            for _ in range(3):
                found = everything(site)
                scraped = values(found["/metrics"])
                assert scraped["headwise_database_up"] == "0.0"
                assert scraped['headwise_condition{condition="database"}'] == "2.0"
                assert scraped[running] == "1.0", "what was read before"
                assert float(scraped["headwise_metrics_age_seconds"]) > 1
                assert found["/readyz"].status == 503
                assert b"does not answer within 1.5 s" in found["/readyz"].body
                assert found["/healthz"].status == 200
            # One thread for each of the two, however often they are asked.
            assert threading.active_count() <= before + 4
        finally:
            signal_all(server, signal.SIGCONT)
        while values(site.get("/metrics"))["headwise_database_up"] != "1.0":
            pass
        while site.get("/readyz").status != 200:
            pass
    finally:
        stop(site)


def test_a_database_that_never_answered(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"
        site = started(tmp_path, address)
        try:
            found = everything(site)
            scraped = values(found["/metrics"])
            assert scraped["headwise_database_up"] == "0.0"
            assert "headwise_metrics_age_seconds" not in scraped
            assert (found["/readyz"].status, found["/healthz"].status) == (503, 200)
        finally:
            silent.close()
            stop(site)


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/metrics", "10.1.2.3:8600", 200),
        ("/readyz", "[fd00::1]:8600", 200),
        ("/healthz", "10.1.2.3", 200),
        ("/metrics", "evil.example", 400),
        ("/metrics", "10.1.2.3.evil.example", 400),
        ("/jobs", "10.1.2.3:8600", 400),
        ("/api/v1/jobs", "10.1.2.3:8600", 400),
    ],
)
def test_scrapes_come_by_address_and_pages_by_name(
    site: Site, path: str, host: str, status: int
) -> None:
    assert site.get(path, headers={"Host": host}).status == status
