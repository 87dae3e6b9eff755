"""Notifications of a browser, and the page of recipients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import update

from db import schema
from db.ops import notifications
from tests.browser.page import Page

pytestmark = pytest.mark.browser

RECORD = """
window.told = [];
window.Notification = class extends EventTarget {
  static permission = 'granted';
  static requestPermission = async () => 'granted';
  constructor(title, options) { super(); window.told.push([title, options.body, options.tag]); }
};
"""
"""In place of the browser's notifications, which a headless one does not show."""


def test_a_tab_tells_when_a_job_ends(page: Page, stage: SimpleNamespace) -> None:
    before = stage.seed.seed_job(stage.database, name="before")
    job = stage.seed.seed_job(stage.database, state="running", name="night run")
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORD})
    try:
        page.open("/notifications")
        page.click("#in-browser")
        page.until(lambda: "you will be notified" in page.one("#browser-state").text)
        page.open(f"/jobs/{before}")
        page.until(lambda: page.script("return localStorage.getItem('notify-after') || ''") != "")
        assert page.script("return window.told") == []
        ended = {"state": "succeeded", "finished_at": stage.seed.clock(stage.database)}
        with stage.database.write() as tx:
            tx.execute(update(schema.job).where(schema.job.c.id == job).values(**ended))
        page.until(lambda: page.script("return window.told.length") == 1)
        assert page.script("return window.told") == [
            [f"Job {job} succeeded", "night run", f"headwise-job-{job}"]
        ]
        page.open("/notifications")
        page.click("#in-browser")
        page.until(lambda: page.script("return localStorage.getItem('notify-after')") is None)
        assert page.complaints() == []
    finally:
        number = {"identifier": added["identifier"]}
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", number)


def test_a_recipient_is_added_and_asked_for_a_job(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running")
    page.open("/notifications")
    page.one("#name").send_keys("team")
    page.one("#address").send_keys("syslog://")
    page.click("button.primary")
    page.until(lambda: "not a service that can be used" in page.one("#problem-address").text)
    assert page.one("#name").get_attribute("value") == "team"
    page.one("#address").clear()
    page.one("#address").send_keys("https://hooks.example.org/secret")
    page.click("button.primary")
    page.until(lambda: "whsec_" in page.one(".notice").text)
    assert "hooks.example.org/…" in page.one("table").text
    assert "secret" not in page.one("table").text
    page.open(f"/jobs/{job}")
    page.click("#notify summary")
    page.click("#notify input[type=checkbox]")
    page.click("#notify button")
    page.until(lambda: "1 recipient chosen for" in page.one("#notify summary").text)
    assert notifications.told_of_job(stage.database, job) == {1}
    page.size(390, 844)
    page.open("/notifications")
    assert page.script("return document.documentElement.scrollWidth") <= 390
