"""The page for operators and the page of a worker: what they say, sort, remove, and refuse."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient

from db import schema
from db.database import Database
from db.ops import retention
from headwise.figures import VegaFigure
from scheduler.figures.over_time import History, figures_of_worker
from tests.helpers.databases import execute, rows
from tests.webui.seed import clock, seed_job, seed_worker
from tests.webui.seed_night import seed_night
from tests.webui.seed_results import insert
from webui.periods import PERIODS, PeriodName

HOSTILE = "<script>alert(1)</script>/%2e?#&'\""


def section(page: str, name: str) -> str:
    """The part of the page with that id."""
    found = re.search(rf'<section id="{name}".*?</section>', page, flags=re.DOTALL)
    assert found, name
    return found[0]


def order(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text)


def test_an_empty_installation_has_the_page(client: FlaskClient) -> None:
    page = client.get("/operations").text
    for words in ("No queue has had a job", "No worker has started yet", "No jobs yet"):
        assert words in page
    assert "No attempt, job or example has failed" in section(page, "errors")
    assert client.get("/workers").location == "/operations#workers"


def test_a_night_at_a_glance(client: FlaskClient, database: Database) -> None:
    seed_night(database)
    page = client.get("/operations").text
    queues = section(page, "queues")
    assert order(queues, r'<h3 class="break">(\w+)') == ["gpu", "quick"]
    names = ["queue-waiting", "queue-wait", "queue-rate"]
    assert order(queues, r'<figure [^>]*id="figure-([a-z-]+)"') == names
    assert queues.count('<table class="dense">') == 2
    errors = section(page, "errors")
    counts = [int(n) for n in order(errors, r'data-label="Count" class="num">([\d,]+)')]
    assert counts == sorted(counts, reverse=True)
    failed = (
        "SELECT COUNT(*) FROM attempt WHERE error IS NOT NULL AND finished_at > {clock} - 86000"
    )
    ((attempts,),) = rows(database, failed)
    assert sum(counts) >= attempts > 10
    assert errors.count("the lease expired: worker") == 1
    assert re.search(r'/jobs/\d+\?log_shard=\d+#log">Log of the last one', errors)
    assert {*order(section(page, "users"), r'break" href="/\?q=(\w+)')} == {"ada", "bela", "chen"}
    workers = section(page, "workers")
    assert "5 live workers, 1 stopped or dead" in workers
    assert "60 GB of 85 GB on the device, 93 % busy" in workers


@pytest.mark.parametrize("hours", [12, 24, 168, 720])
def test_every_period(client: FlaskClient, database: Database, hours: int) -> None:
    seed_night(database, jobs=6)
    page = client.get(f"/operations?hours={hours}").text
    assert f"hours={hours}&amp;format=csv" in page
    name = order(page, r'href="/workers/([^"?]+)')[0]
    worker = client.get(f"/workers/{name}?hours={hours}").text
    assert order(worker, r'id="figure-([a-z-]+)"')[:2] == ["rate", "memory"]
    assert f"hours={hours}&amp;format=csv" in worker


def test_workers_by_speed_and_failures(client: FlaskClient, database: Database) -> None:
    seed_night(database)
    shown: dict[str, list[float]] = {}
    for by, column in (("rate", "Rate"), ("failures", "Failures"), ("examples", "Examples")):
        text = section(client.get(f"/operations?workers={by}").text, "workers")
        found = order(text, rf'data-label="{column}" class="num">(?:<span class="bad">)?([\d.,]+)')
        shown[by] = [float(one.replace(",", "")) for one in found][:5]  # the last one is dead
    assert all(values == sorted(values, reverse=True) for values in shown.values())
    assert len({*shown["rate"]}) > 2
    part = client.get("/operations/processes?workers=failures").text
    assert part.lstrip().startswith("<section")
    assert 'workers=failures"' in part


def test_jobs_by_size_are_purged_and_deleted(client: FlaskClient, database: Database) -> None:
    small, large, running = (
        seed_job(database, name="small"),
        seed_job(database, name="large"),
        seed_job(database, name="running", state="running", done=6),
    )
    now = clock(database)
    insert(
        database,
        schema.job_size,
        [
            {"job_id": job, "bytes": size, "details": size // 2, "measured_at": now}
            for job, size in ((small, 1000), (large, 2_000_000))
        ],
    )
    disk = section(client.get("/operations").text, "disk")
    assert order(disk, r'data-key="(\d+)"') == [str(large), str(small), str(running)]
    assert "2.0 MB" in disk
    assert "not measured yet" in disk
    assert order(disk, r'name="job" value="(\d+)"') == [str(large), str(small)]
    by_age = section(client.get("/operations?disk=age").text, "disk")
    assert order(by_age, r'data-key="(\d+)"') == [str(small), str(large), str(running)]
    form = {"job": [str(small), str(large)]}
    answer = client.post("/operations/disk/purge?disk=age&hours=12", data=form)
    assert (answer.status_code, answer.location) == (303, "/operations?hours=12&disk=age#disk")
    assert rows(database, "SELECT COUNT(*) FROM job WHERE purging") == [(2,)]
    while not retention.remove_details(database, 60):
        pass
    assert section(client.get("/operations").text, "disk").count(">purged<") == 2
    form = {"job": [str(small), str(running), "99"]}
    answer = client.post("/operations/disk/delete", data=form)
    assert answer.status_code == 409
    assert "There is no job 99." in answer.text
    assert "1 job deleted." in answer.text
    assert order(section(client.get("/operations").text, "disk"), r'data-key="(\d+)"') == [
        str(large),
        str(running),
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [("hours=25", "hours"), ("workers=x", "workers"), ("disk=x", "disk"), ("disk_page=0", "page")],
)
def test_choices_that_are_not_there_are_refused(
    client: FlaskClient, query: str, field: str
) -> None:
    answer = client.get(f"/operations?{query}")
    assert answer.status_code == 400
    assert field in answer.text


@pytest.mark.parametrize("form", [{}, {"job": "x"}, {"job": "9" * 12}])
def test_forms_that_name_no_job_are_refused(client: FlaskClient, form: dict[str, str]) -> None:
    answer = client.post("/operations/disk/purge", data=form)
    assert answer.status_code == 400
    assert "no job is ticked" in answer.text
    assert client.post("/operations/disk/burn", data={"job": "1"}).status_code in (404, 405)


def test_a_worker_has_a_page_with_its_history(client: FlaskClient, database: Database) -> None:
    seed_night(database)
    ((name, attempts),) = rows(
        database, "SELECT worker, COUNT(*) FROM attempt GROUP BY worker ORDER BY 2 DESC LIMIT 1"
    )
    page = client.get(f"/workers/{name}").text
    assert order(page, r'id="figure-([a-z-]+)"') == ["rate", "memory", "device-memory"]
    found, number = [], 1
    while True:
        listed = order(
            section(client.get(f"/workers/{name}?page={number}").text, "attempts"),
            r'data-key="([^"]+)"',
        )
        if not listed:
            break
        found += listed
        number += 1
    assert len(found) == len({*found}) == attempts
    assert re.search(r"of \d+ attempts", page)


def time_of(sample: dict[str, Any]) -> str:
    """The beginning of a sample as figures write it."""
    return datetime.fromtimestamp(sample["starts_at"], UTC).isoformat()


def test_figures_of_queues_have_their_samples_as_files(
    client: FlaskClient, database: Database
) -> None:
    seed_night(database)
    queues = client.get("/api/v1/operations?hours=12").json["queues"]
    address = "/api/v1/operations/queue-figures/{}?hours=12&format={}"
    for kind, value in (
        ("waiting", lambda one: one["waiting"]),
        ("wait", lambda one: None if one["oldest"] is None else one["oldest"] / 60),
        ("rate", lambda one: one["examples"] / 300),
    ):
        drawn = VegaFigure.from_spec(client.get(address.format(kind, "json")).json)
        shown = {(row["queue"], row["at"]): row[kind] for row in drawn.rows}
        assert shown == pytest.approx(
            {
                (queue["name"], time_of(one)): value(one)
                for queue in queues
                for one in queue["samples"]
                if value(one) is not None
            }
        ), kind
        assert {queue for queue, _ in shown} == {"gpu", "quick"}
        assert drawn.caption.endswith("Last 12 hours.")
        assert client.get(address.format(kind, "csv")).text.startswith(f"queue,at,{kind}")
    assert client.get(address.format("rate", "svg")).data.startswith(b"<svg")
    assert client.get(address.format("memory", "svg")).status_code == 404
    refused = client.get("/api/v1/operations/queue-figures/rate?hours=13")
    assert refused.status_code == 400


def test_figures_of_a_worker_have_its_samples_as_files(
    client: FlaskClient, database: Database
) -> None:
    seed_night(database)
    ((name,),) = rows(database, "SELECT MAX(name) FROM sample WHERE subject = 'worker'")
    samples = client.get(f"/api/v1/workers/{name}?hours=12").json["samples"]
    address = "/api/v1/operations/worker-figures/{}?worker=" + f"{name}&hours=12&format={{}}"
    for kind, column, value in (
        ("rate", "rate", lambda one: one["examples"] / 300),
        ("memory", "memory", lambda one: one["memory"] and one["memory"] / 1e9),
    ):
        drawn = VegaFigure.from_spec(client.get(address.format(kind, "json")).json)
        measured = {time_of(one): value(one) for one in samples if value(one) is not None}
        assert {row["at"]: row[column] for row in drawn.rows} == pytest.approx(measured), kind
        assert drawn.caption.endswith(f"Worker {name}, last 12 hours.")
        assert client.get(address.format(kind, "csv")).text.startswith(f"at,{column}")
    assert client.get(address.format("rate", "svg")).data.startswith(b"<svg")
    assert client.get(address.format("speed", "svg")).status_code == 404
    unknown = "/api/v1/operations/worker-figures/rate?worker=nobody"
    assert client.get(unknown).status_code == 404
    assert client.get("/api/v1/operations/worker-figures/rate").status_code == 400
    assert client.get(address.format("rate", "csv") + "&measure=mean").status_code == 400


def test_every_period_can_be_asked_for() -> None:
    assert tuple(PERIODS) == get_args(PeriodName)


def test_the_names_of_a_workers_files_are_plain() -> None:
    history = History(period="24 hours", step=60, samples={"gpu é/1": ()}, of_worker=True)
    assert figures_of_worker(history).file_name == "worker-gpu---1"


def test_a_worker_that_is_gone_keeps_its_page(client: FlaskClient, database: Database) -> None:
    job = seed_job(database)
    assert "orion-4121-1" in client.get(f"/jobs/{job}").text
    page = client.get("/workers/orion-4121-1").text
    assert ">gone<" in page
    assert "Nothing was recorded in this time" in page
    assert "RuntimeError: CUDA error" in page
    assert client.get("/workers/nobody").status_code == 404
    assert client.get("/api/v1/workers/nobody").status_code == 404


def test_hostile_names_are_shown_not_run(client: FlaskClient, database: Database) -> None:
    seed_job(database, name=HOSTILE, error=HOSTILE, state="failed", done=0)
    seed_worker(database, HOSTILE, queue=HOSTILE, device=HOSTILE, silent=0)
    values = {"error": HOSTILE, "worker": HOSTILE, "finished_at": clock(database)}
    with database.write() as tx:
        tx.execute(schema.attempt.update().values(values))
    page = client.get("/operations").text
    address = order(page, r'href="(/workers/[^"]+)"')[0].replace("&amp;", "&")
    own = client.get(address).text
    for text in (page, own):
        assert "alert(1)" in text
        assert "<script>alert" not in text


def test_the_api_says_the_same(client: FlaskClient, database: Database) -> None:
    seed_night(database)
    told: dict[str, Any] = client.get("/api/v1/operations?hours=12").json
    assert told["step_seconds"] == 300
    assert [queue["name"] for queue in told["queues"]] == ["gpu", "quick"]
    assert len(told["queues"][0]["samples"]) in range(142, 146)
    assert told["queues"][0]["samples"][0]["waiting"] > 0
    assert {user["name"] for user in told["users"]} == {"ada", "bela", "chen"}
    assert told["users"][0]["week"]["examples"] > 0
    assert {group["source"] for group in told["errors"]} >= {"attempt"}
    assert told["workers"][0]["examples_per_second"] > 1
    name = told["workers"][0]["name"]
    worker = client.get(f"/api/v1/workers/{name}").json
    assert (worker["name"], worker["worker"]["name"]) == (name, name)
    assert worker["samples"][0]["memory"] > 10**9
    assert {"job", "shard", "outcome", "error"} < {*worker["attempts"][0]}
    execute(database, "DELETE FROM attempt")
    assert client.get("/api/v1/operations").json["errors"][0]["source"] == "job"
    assert client.get("/api/v1/operations?hours=1").status_code == 400


def test_the_api_lists_sizes_in_pages(client: FlaskClient, database: Database) -> None:
    seed_night(database)
    found: list[dict[str, Any]] = []
    address: str | None = "/api/v1/operations/disk?order=size&limit=15"
    while address:
        page: dict[str, Any] = client.get(address).json
        found += page["sizes"]
        address = page["next"]
    sizes = [one["bytes"] for one in found]
    assert sizes == sorted(sizes, reverse=True)
    assert len({one["job"] for one in found}) == page["whole"]["jobs"] == 40
    assert client.get("/api/v1/operations/disk?order=x").status_code == 400
