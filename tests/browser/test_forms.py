"""The form of a new job, checked while it is filled in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import Page

pytestmark = pytest.mark.browser


def test_the_form_checks_while_it_is_filled_in(page: Page, stage: SimpleNamespace) -> None:
    submission = stage.submission()
    page.open("/jobs/new")
    page.one("[id='model.name']").send_keys(submission["spec"]["model"]["name"])
    page.one("[id='data.path']").send_keys("nowhere.jsonl" + Keys.TAB)
    page.until(lambda: "no such file" in page.one("[id='problem-data.path']").text)
    assert page.one("[id='data.path']").get_attribute("aria-invalid") == "true"
    file = page.one("#upload")
    file.send_keys(submission["spec"]["data"]["path"])
    page.until(lambda: "/uploads/" in str(page.one("[id='data.path']").get_attribute("value")))
    page.click("[data-preview-table] th button")
    page.until(lambda: "Shards" in page.one("[data-estimate]").text)
    assert "2 layers × 3 heads" in page.one("[data-estimate]").text
    limit = page.one("[id='data.limit']")
    limit.send_keys("0" + Keys.TAB)
    page.until(lambda: page.one("[id='problem-data.limit']").text != "")
    limit.send_keys(Keys.BACKSPACE, "2", Keys.TAB)
    page.until(lambda: "2" in page.one("[data-estimate]").text)
    assert page.complaints() == []
    page.click("#job-form .primary")
    page.until(lambda: page.driver.current_url.endswith("/jobs/1"))
    assert page.one("#status .chip").text == "queued"


def test_a_refused_form_puts_the_focus_on_the_fault(page: Page, stage: SimpleNamespace) -> None:
    page.open("/jobs/new")
    page.click("#job-form .primary")
    page.until(lambda: page.count("[aria-invalid='true']") >= 1)
    focused = page.script("return document.activeElement.id")
    assert focused == page.one("[aria-invalid='true']").get_attribute("id") == "model.name"
