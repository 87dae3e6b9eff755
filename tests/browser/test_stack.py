"""A person's way through the real stack: submit a job, watch it finish, click through."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.page import Page
from tests.helpers.stack import Stack, exactly_once
from tests.helpers.tiny import bert_folder, pairs_file

pytestmark = pytest.mark.browser


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


@pytest.fixture
def page(driver: Chrome, stack: Stack) -> Iterator[Page]:
    """The browser on the dashboard of the stack, which is up."""
    page = Page(driver, f"http://127.0.0.1:{stack.settings.port}")
    for name in ("web", "scheduler", "worker"):
        stack.start(name)
    stack.until(lambda: _answers(page.address), "the dashboard")
    page.leave()
    yield page
    page.leave()


def test_submit_watch_and_click_through(stack: Stack, page: Page, tmp_path: Path) -> None:
    model = bert_folder(tmp_path / "models/tiny")
    data = pairs_file(tmp_path / "pairs.jsonl", 40)
    page.open("/jobs/new")
    for name, value in {
        "model.name": str(model),
        "data.path": str(data),
        "data.text_columns": "premise, hypothesis",
        "data.label_column": "label",
        "name": "by hand",
    }.items():
        field = page.driver.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)
    page.click("button.primary[name=do][value=submit]")
    page.until(lambda: "/jobs/1" in page.driver.current_url)

    # The page renews itself: no reload here.
    page.until(lambda: "succeeded" in page.one("#status").text)
    exactly_once(stack, 1, 40)
    page.one("#heads [data-drawn] svg")

    page.click("a[href*='/jobs/1/heads/']")
    page.until(lambda: "/heads/" in page.driver.current_url)
    assert "L" in page.one("h1").text
    page.driver.back()
    page.click("a[href*='/jobs/1/examples/3']")
    page.until(lambda: "/examples/3" in page.driver.current_url)
    premise = stack.rows("SELECT text_a FROM examples WHERE example = 3")[0][0]
    text = page.one("main").text
    said = page.one("#words desc").get_attribute("textContent")
    assert premise in said
    assert "Strongest token pairs" in text
    assert page.complaints() == []


def test_a_text_is_explained(stack: Stack, page: Page, tmp_path: Path) -> None:
    page.open("/lab")
    model = page.one("[name=model]")
    model.clear()
    model.send_keys(str(bert_folder(tmp_path / "models/tiny")))
    page.one("[name=text]").send_keys("the old cat sings")
    page.click("form.editor button.primary")
    # The column that waits goes on by itself.
    page.until(lambda: page.count(".column svg.words"))
    assert "the old cat sings" in page.one(".column svg.words desc").get_attribute("textContent")
    text = page.one("[name=text]")
    text.clear()
    text.send_keys("the new cat sings")
    page.click("form.editor button.primary")
    page.until(lambda: page.count(".column svg.words") == 2)
    assert page.one(".column ins").text == "new"
    assert page.driver.current_url.endswith("/lab?jobs=1,2&base=1")
    assert page.count(".column svg.arcs .arc") > 0
    assert page.count(".column svg.words .mark") == 1
    assert page.complaints() == []


def test_a_head_opens_its_matrix(stack: Stack, page: Page) -> None:
    """From the column of a text, with one click, on a worker that is up."""
    job = stack.submit(1)
    stack.wait_for(f"SELECT state FROM jobs WHERE job_id = {job}", "succeeded")
    page.open(f"/lab?jobs={job}")
    page.click(".column a[href*='#matrix']")
    page.until(lambda: "/heads/" in page.driver.current_url)
    page.click("#matrix form[method=post] button")
    # The section that waits goes on by itself.
    page.one("#matrix [data-drawn] svg")
    figure = page.one("#matrix .chart")
    page.script("arguments[0].focus()", figure)
    page.until(lambda: "attribution" in page.one("#cell").text)
    before = page.one("#cell").text
    at_key = int(before.split("(")[2].split(")")[0])
    arrow = Keys.ARROW_RIGHT if at_key == 0 else Keys.ARROW_LEFT
    page.driver.switch_to.active_element.send_keys(arrow)
    there = at_key + (1 if at_key == 0 else -1)
    page.until(lambda: f"({there}): attention" in page.one("#cell").text)
    # The numbers are those of the table.
    query = before.split("(")[1].split(")")[0]
    page.click("#row summary")
    Select(page.one("#row select")).select_by_value(query)
    page.click("#row button")
    page.until(lambda: "row=" in page.driver.current_url)
    column = "#row tbody td:nth-child(3)"
    cells = page.until(
        lambda: [one.text for one in page.driver.find_elements(By.CSS_SELECTOR, column)]
    )
    assert float(cells[at_key]) == float(before.split("attention ")[1].split(",")[0])
    # The whole layer was stored, and nothing is asked for again.
    stored = "SELECT COUNT(*) FROM head_matrix WHERE attention IS NOT NULL"
    assert stack.rows(stored) == [(4,)]
    page.open(page.driver.current_url.removeprefix(page.address))
    assert page.count("#matrix form[method=post]") == 0
    assert stack.rows("SELECT COUNT(*) FROM jobs") == [(2,)]
    assert page.complaints() == []


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
