"""Pages and API say what stands still, and show, filter and hand out a job's log."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from db import schema
from db.database import Database
from db.ops import fleet
from db.ops.logs import LogShipper
from jobs.processes.logs import Pending
from tests.helpers.fleet import SAID, WHO, shift

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def logged(database: Database, seeding: SimpleNamespace) -> int:
    """A job with some lines of two processes."""
    job = int(seeding.seed_job(database, state="running", done=6))
    for source in ("orion-1", "scheduler-1"):
        lines = Pending()
        for number in range(3):
            about = (
                {"job": job, "shard": number, "attempt": 1} if source == "orion-1" else {"job": job}
            )
            lines.add("info", f"{source} said {number}", f"value={number}", about)
        lines.add("error", f"{source} {HOSTILE}", "Traceback\n  line", {"job": job, "shard": 0})
        LogShipper(database, source, seconds=1, kept=100, lines=lines).ship()
    with database.write() as tx:
        tx.execute(schema.job_log.update().values(stored_at=schema.job_log.c.stored_at - 5))
    return job


def test_the_log_is_on_the_jobs_page(client: FlaskClient, logged: int) -> None:
    page = client.get(f"/jobs/{logged}").text
    assert page.count("said") == 6
    assert "<script>alert" not in page
    rows = client.get(f"/jobs/{logged}?log_level=warning").text
    assert "said" not in rows
    rows = client.get(f"/jobs/{logged}?log_shard=1").text
    assert re.findall(r"\S+ said \d", rows) == ['class="log-line">orion-1 said 1']
    assert client.get(f"/jobs/{logged}?log_level=loud").status_code == 400
    assert client.get(f"/jobs/{logged}?log_shard=x").status_code == 400
    assert client.get(f"/jobs/{logged}?log_before=x").status_code == 400
    assert "No lines match this filter" in client.get(f"/jobs/{logged}?log_shard=77").text


def test_older_lines_are_a_link_away(
    client: FlaskClient, logged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.pages.jobs.notices.SHOWN", 5)
    seen: list[str] = []
    address: str | None = f"/jobs/{logged}"
    while address:
        page = client.get(address).text
        seen += re.findall(r'data-key="((?:orion|scheduler)-1/\d)"', page)
        link = re.search(r'href="([^"]*log_before[^"]*)"[^>]*>← Older', page)
        address = link[1].replace("&amp;", "&") if link else None
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == 8


def test_the_log_as_plain_text(client: FlaskClient, logged: int) -> None:
    answer = client.get(f"/jobs/{logged}/log.txt")
    assert answer.mimetype == "text/plain"
    assert f'filename="job-{logged}.log"' in answer.headers["Content-Disposition"]
    assert answer.text.count("said") == 6
    assert re.search(
        r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00 info    orion-1 shard=2 attempt=1 ", answer.text, re.M
    )
    assert client.get(f"/jobs/{logged}/log.txt?log_level=error").text.count("said") == 0
    assert client.get("/jobs/999/log.txt").status_code == 404


def test_the_log_by_api_goes_on_where_it_ended(client: FlaskClient, logged: int) -> None:
    address = f"/api/v1/jobs/{logged}/log"
    first = client.get(f"{address}?limit=5").json
    rest = client.get(address, query_string={"after": first["next_after"]}).json
    assert (len(first["lines"]), len(rest["lines"])) == (5, 3)
    end = client.get(address, query_string={"after": rest["next_after"]}).json
    assert (end["lines"], end["next"], end["next_after"]) == ([], None, rest["next_after"])
    line = first["lines"][0]
    assert set(line) == {"at", "level", "source", "shard", "attempt", "event", "details"}
    assert client.get(f"{address}?level=error").json["lines"][0]["level"] == "error"
    for wrong in ("level=loud", "shard=x", "after=x", "limit=0"):
        assert client.get(f"{address}?{wrong}").status_code == 400
    assert client.get("/api/v1/jobs/999/log").status_code == 404


PAGES = ("/", "/jobs/new", "/lab", "/studies", "/operations", "/notices")


def test_pages_say_what_jobs_wait_for(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    running = seeding.seed_job(database, state="running", done=6)
    final = seeding.seed_job(database)
    pages = (*PAGES, f"/jobs/{running}")
    for path in pages:
        text = client.get(path).text
        assert "No scheduler is running" in text, path
        assert "No worker of the queue default is alive: 1 running job waits" in text
    assert "No scheduler is running" not in client.get(f"/jobs/{final}").text
    unreachable = {**SAID, "broker_error": f"refused {HOSTILE}"}
    fleet.report_scheduler(database, WHO, **unreachable)
    seeding.seed_worker(database, "w")
    for path in pages:
        text = client.get(path).text
        assert "No scheduler is running" not in text
        assert "No worker" not in text.replace("No worker has been seen", "")
        assert "The broker redis://b does not work" in text
        assert "<script>alert" not in text
    fleet.report_scheduler(database, WHO, **SAID)
    for path in pages:
        assert "notice-warn" not in client.get(path).text


def test_conditions_on_pages_and_api(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, state="running", done=6, shard_size=6)
    place: dict[str, Any] = {"state": "busy", "job_id": job, "shard_no": 1, "beat_seconds": 10}
    seeding.seed_worker(
        database, "orion-4121-1", resource_usage='{"memory": 5e8, "cpu": 1.5}', **place
    )
    seeding.seed_worker(database, "gone", silent=21)
    fleet.report_scheduler(database, WHO, **SAID)
    shift(database, "shard", "moved_at", 0)
    with database.write() as tx:
        tx.execute(schema.shard.update().values(moved_at=seeding.clock(database) - 100))
    page = client.get("/operations").text
    assert "1 live worker, 1 stopped or dead" in page
    assert 'chip-stalled">stalled' in page
    assert 'chip-dead">dead' in page
    assert "500 MB" in page
    assert "1.5 cores" in page
    assert "stalled" in client.get(f"/jobs/{job}").text
    listed = client.get("/api/v1/workers").json["workers"]
    assert {one["name"]: one["condition"] for one in listed} == {
        "orion-4121-1": "stalled",
        "gone": "dead",
    }
    shards = client.get(f"/api/v1/jobs/{job}/shards").json["shards"]
    assert [shard["condition"] for shard in shards] == ["stalled", None]
    system = client.get("/api/v1/system").json
    assert system["workers"] == {"stalled": 1, "dead": 1}
    assert [one["condition"] for one in system["schedulers"]] == ["running"]
    assert system["notices"] == []


def test_a_job_that_waits_says_why_on_its_page_in_the_list_and_in_the_api(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = int(seeding.seed_job(database, state="running", done=0))
    with database.write() as tx:
        tx.run("UPDATE shard SET state = 'ready', available_at = 0")
        tx.run("DELETE FROM worker")
    message = "No worker serves the queue default: start one with "
    answer = client.get(f"/api/v1/jobs/{job}/why").json
    assert (answer["cause"], answer["message"][: len(message)]) == ("workers", message)
    page = client.get("/").text
    assert f'title="{message}`headwise worker --queues default`' in page
    assert '<span class="small">(no worker)</span>' in page
    for address in (f"/jobs/{job}", f"/jobs/{job}/waiting"):
        assert f"{message}<code>headwise worker --queues default</code>" in client.get(address).text
    with database.write() as tx:
        tx.run("UPDATE job SET state = 'succeeded', finished_at = 1")
    assert client.get(f"/api/v1/jobs/{job}/why").json == {"cause": None, "message": None}
    assert "Waiting." not in client.get(f"/jobs/{job}").text
    assert client.get("/jobs/99/waiting").status_code == 404
    assert client.get("/api/v1/jobs/99/why").status_code == 404
