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
    page.until(lambda: page.one("[id='data.text_columns']").get_attribute("value") == "text")
    # A column is taken away and added by its name.
    page.click("[data-preview-table] th button")
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
    assert page.one("#status .chip").text == "waiting"


def test_a_refused_form_puts_the_focus_on_the_fault(page: Page, stage: SimpleNamespace) -> None:
    page.open("/jobs/new")
    page.click("#job-form .primary")
    page.until(lambda: page.count("[aria-invalid='true']") >= 1)
    focused = page.script("return document.activeElement.id")
    assert focused == page.one("[aria-invalid='true']").get_attribute("id") == "model.name"


def test_nothing_typed_is_lost_by_a_preset_or_a_kind(page: Page, stage: SimpleNamespace) -> None:
    stage.submission()
    page.open("/jobs/new")
    page.one("[name='name']").send_keys("mine")
    page.click("[name='do'][value^='preset:Precise']")
    page.until(lambda: page.one(".notice[role='status'], #estimate"))
    page.click("[name='do'][value='kind:importance']")
    page.one("#method")
    page.click("[name='do'][value='kind:attribution']")
    page.one("#integration")
    assert page.one("[name='name']").get_attribute("value") == "mine"
    assert page.one("[name='rtol']").get_attribute("value") == "0.001"
    assert page.complaints() == []


def test_the_file_that_a_study_is_evaluated_on_is_picked(
    page: Page, stage: SimpleNamespace
) -> None:
    path = stage.submission()["spec"]["data"]["path"]
    page.open("/studies/new")
    picker = "[id='picker-evaluation.path']"
    page.click(f"{picker} > button")
    page.click(f"{picker} li [value='open:evaluation.path:{stage.home}']")
    page.click(f"{picker} [value='take:evaluation.path:{path}']")
    assert page.one("[id='evaluation.path']").get_attribute("value") == path
    assert page.one("[id='data.path']").get_attribute("value") == ""
    assert page.complaints() == []


def test_model_and_file_are_picked_from_the_allowed_folders(
    page: Page, stage: SimpleNamespace
) -> None:
    submission = stage.submission()
    page.open("/jobs/new")
    for field, path in (
        ("model.name", submission["spec"]["model"]["name"]),
        ("data.path", submission["spec"]["data"]["path"]),
    ):
        picker = f"[id='picker-{field}']"
        page.click(f"{picker} > button")
        page.click(f"{picker} li [value='open:{field}:{stage.home}']")
        if field == "model.name":
            page.click(f"{picker} li [value='open:{field}:{stage.home}/models']")
        page.click(f"{picker} [value='take:{field}:{path}']")
        assert page.one(f"[id='{field}']").get_attribute("value") == path
    page.until(lambda: page.one("[id='data.text_columns']").get_attribute("value") == "text")
    assert page.one("[id='data.label_column']").get_attribute("value") == "label"
    page.until(lambda: "Submit starts a job of 3 examples" in page.one("#estimate").text)
    assert page.one(".label-counts").text.splitlines()[-2:] == ["no 2", "yes 1"]
    assert page.complaints() == []
