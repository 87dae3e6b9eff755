"""Pages that renew themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import update

from db import schema
from tests.browser.page import Page

pytestmark = pytest.mark.browser


def test_progress_is_live(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running", done=6, shard_size=3)
    page.open(f"/jobs/{job}")
    page.until(lambda: "7" in page.one("[data-live='computed']").text)
    with stage.database.write() as tx:
        tx.execute(update(schema.shard).where(schema.shard.c.shard_no == 2).values(progress=2))
    page.until(lambda: page.one("[data-live='computed']").text == "8")
    with stage.database.write() as tx:
        tx.execute(update(schema.shard).values(state="done", progress=3))
        tx.execute(update(schema.job).values(state="succeeded", finished_at=2e9))
    page.until(lambda: page.one("#status .chip").text == "succeeded")
    page.until(lambda: page.count("details.confirm form[action$='/delete']") == 1)
    assert page.complaints() == []


def test_the_accuracy_of_the_examples_is_live(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running", done=6, shard_size=3)
    gold = (
        "(SELECT e.gold FROM example e "
        "WHERE e.job_id = example_result.job_id AND e.example_no = example_result.example_no)"
    )
    with stage.database.write() as tx:
        tx.run(f"UPDATE example_result SET predicted = ({gold} + 1) % 2")
    page.open(f"/jobs/{job}")
    assert page.one("#example-accuracy").text.startswith("0.0 % of 6 labelled examples")
    with stage.database.write() as tx:
        tx.run(f"UPDATE example_result SET predicted = {gold}")
        tx.run("UPDATE shard SET state = 'done', progress = 3 WHERE shard_no = 2")
    page.until(lambda: page.one("#example-accuracy").text.startswith("100.0 % of 6 labelled"))
    assert page.complaints() == []


def test_a_tab_counts_on_without_news(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running", done=6, shard_size=3)
    page.open(f"/jobs/{job}")
    page.until(lambda: page.driver.title.startswith("58 % "))
    running = page.one("[data-live='elapsed']")
    assert " min" in running.text
    before = running.text
    page.until(lambda: running.text != before)
    asked = (
        "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/'))"
    )
    page.until(lambda: len(page.script(asked)) > 2)
    statuses = [entry["responseStatus"] for entry in page.script(asked)]
    assert statuses[0] == 200
    assert 304 in statuses
    assert page.complaints() == []


def test_first_results_appear_with_their_charts(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running")

    def set_shards(state: str) -> None:
        with stage.database.write() as tx:
            tx.execute(update(schema.shard).values(state=state))

    set_shards("ready")
    page.open(f"/jobs/{job}")
    page.until(lambda: "No results yet" in page.one("main").text)
    set_shards("done")
    page.one("#heads [data-drawn] svg")
    assert page.count("#heads .segmented a") == 5
    assert "provisional" in page.one("#heads").text
    assert page.complaints() == []


def test_the_list_renews_itself_and_filters(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database, name="first", state="running", done=6)
    page.open("/")
    page.one(".chip-executing")
    stage.seed.seed_job(stage.database, name="second", state="queued")
    page.until(lambda: page.count(".jobs tbody tr") == 2)
    page.one("input[type='search']").send_keys("fir")
    page.until(lambda: page.count(".jobs tbody tr") == 1)
    assert "q=fir" in page.driver.current_url
