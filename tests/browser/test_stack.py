"""A person's way through the real stack: submit a job, watch it finish, click through."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.chromium import chromium
from tests.helpers.stack import Stack, exactly_once
from tests.helpers.tiny import bert_folder, pairs_file

pytestmark = pytest.mark.browser


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as driver:
        yield driver
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


def test_submit_watch_and_click_through(stack: Stack, browser: Chrome, tmp_path: Path) -> None:
    model = bert_folder(tmp_path / "models/tiny")
    data = pairs_file(tmp_path / "pairs.jsonl", 40)
    address = f"http://127.0.0.1:{stack.settings.port}"
    stack.start("up")
    stack.until(lambda: _answers(address), "the dashboard")
    # The page renews itself while it is looked at.
    wait = WebDriverWait(browser, 90, ignored_exceptions=[StaleElementReferenceException])

    browser.get(f"{address}/jobs/new")
    for name, value in {
        "model.name": str(model),
        "data.path": str(data),
        "data.text_columns": "premise, hypothesis",
        "data.label_column": "label",
        "name": "by hand",
    }.items():
        field = browser.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)
    browser.find_element(By.CSS_SELECTOR, "button[name=do][value=submit]").click()
    wait.until(lambda page: "/jobs/1" in page.current_url)

    # The page renews itself: no reload here.
    wait.until(lambda page: "succeeded" in page.find_element(By.ID, "status").text)
    exactly_once(stack, 1, 40)
    wait.until(
        lambda page: page.find_elements(By.CSS_SELECTOR, "#heads .plotly, #heads .js-plotly-plot")
    )

    _click(wait, "a[href*='/jobs/1/heads/']")
    wait.until(lambda page: "/heads/" in page.current_url)
    assert "L" in browser.find_element(By.TAG_NAME, "h1").text
    browser.back()
    _click(wait, "a[href*='/jobs/1/examples/3']")
    wait.until(lambda page: "/examples/3" in page.current_url)
    text = browser.find_element(By.TAG_NAME, "main").text
    premise = stack.rows("SELECT text_a FROM examples WHERE example = 3")[0][0]
    assert premise in text
    assert "Strongest token pairs" in text
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_a_text_is_explained(stack: Stack, browser: Chrome, tmp_path: Path) -> None:
    model = bert_folder(tmp_path / "models/tiny")
    address = f"http://127.0.0.1:{stack.settings.port}"
    stack.start("up")
    stack.until(lambda: _answers(address), "the dashboard")

    browser.get(f"{address}/explain")
    browser.find_element(By.NAME, "model").send_keys(str(model))
    browser.find_element(By.NAME, "text").send_keys("the old cat sings")
    browser.find_element(By.CSS_SELECTOR, "main form button").click()
    # The page that waits goes on by itself.
    WebDriverWait(browser, 90).until(lambda page: page.current_url.endswith("/jobs/1/examples/0"))
    assert "old cat sings" in browser.find_element(By.ID, "words").text
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def _click(wait: WebDriverWait[Chrome], selector: str) -> None:
    wait.until(lambda page: page.find_element(By.CSS_SELECTOR, selector).click() is None)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
