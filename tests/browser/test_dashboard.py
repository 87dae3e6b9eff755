"""A dashboard that is clicked through: lists, charts, words, queries, trees, phones."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from sqlalchemy import update

from db import schema
from headwise.attribution.cells import interactions
from jobs.settings import load_settings
from tests.browser.page import Page
from tests.helpers.pruning_jobs import plan, run, submitted
from tests.helpers.trees import Place

pytestmark = pytest.mark.browser


def test_from_the_list_to_a_head_and_an_example(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database, name="demo", examples=30)
    page.open("/")
    page.click(".jobs .title")
    page.one("#heads [data-drawn] svg")
    page.click("#heads .segmented a:nth-child(2)")
    page.until(lambda: "with sign" in page.one("#heads figcaption").text)
    assert "measure=mean_total" in page.driver.current_url
    page.click("#head-table a[href*='sort=mean_total']")
    page.until(lambda: page.count("th[aria-sort='descending']") == 1)
    assert "with sign" in page.one("#heads figcaption").text
    page.click("#head-table tbody th a")
    page.one("[data-figure='scores-spec'][data-drawn] svg")
    first = page.one("h1").text
    page.script("document.activeElement.blur()")
    page.one("body").send_keys(Keys.ARROW_LEFT)
    page.until(lambda: page.one("h1").text != first)
    page.click(".examples th a")
    page.until(lambda: page.count("#pairs .if-wide .arc") == 16)
    assert page.complaints() == []


def test_a_click_in_the_heat_map_opens_the_head(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, layers=2, heads=2)
    page.open(f"/jobs/{job}")
    page.one("#heads [data-drawn] svg")
    # The lower right cell.
    cell = "#heads [data-drawn] .for-screen .mark-rect.role-mark path:last-child"
    page.script("arguments[0].scrollIntoView({block: 'center'})", page.one(cell))

    def pointed() -> bool:
        away = webdriver.ActionChains(page.driver).move_to_element(page.one("#heads h2"))
        away.move_to_element(page.one(cell)).perform()
        return page.count(".tooltip") == 1 and "L1 H1" in page.one(".tooltip").text

    page.until(pointed)
    assert "Rank" in page.one(".tooltip").text
    assert page.complaints() == []
    webdriver.ActionChains(page.driver).click().perform()
    page.until(lambda: page.driver.current_url.endswith(f"/jobs/{job}/heads/1/1"))


def test_layers_and_heads_of_an_example(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database)
    page.open(f"/jobs/{job}/examples/2")
    before = page.one("#words .drawing").get_attribute("innerHTML")
    page.click("#words .segmented a[href*='site=3']")
    page.until(lambda: page.one("#words .segmented [aria-current]").text == "L3")
    assert page.one("#words .drawing").get_attribute("innerHTML") != before
    before = page.one("#figure-head-words .drawing").get_attribute("innerHTML")
    page.click("#grid .grid tbody tr:nth-child(2) td:nth-of-type(3) a")
    page.until(lambda: "L1 H2" in page.one("#grid h3").text)
    assert page.one("#grid > h3").text == "Words that head L1 H2 reads"
    assert page.one("#figure-head-words .drawing").get_attribute("innerHTML") != before
    row = page.one("#pairs tbody tr")
    page.script("arguments[0].scrollIntoView({block: 'center'})", row)
    webdriver.ActionChains(page.driver).move_to_element(row).perform()
    page.until(lambda: page.count(".singled .if-wide .arc.on") == 1)
    assert page.count(".singled .if-wide .word.on") in (1, 2)
    assert page.complaints() == []


def test_sql_by_keyboard(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database)
    page.open("/sql")
    page.one("#sql").send_keys("SELECT rank FROM head_importance ORDER BY rank LIMIT 3")
    page.one("#sql").send_keys(Keys.CONTROL + Keys.ENTER)
    page.until(lambda: page.count("#result tbody tr") == 3)
    assert "q=SELECT" in page.driver.current_url
    page.click(".question a")
    page.until(lambda: page.count("#result tbody tr") == 10)
    assert page.complaints() == []


def test_the_curves_of_a_pruning_job(page: Page, stage: SimpleNamespace) -> None:
    settings = load_settings({}, home=stage.home)
    job = submitted(stage.database, settings, steps=4, within_layer=[1], within=5)
    plan(stage.database, settings)
    run(stage.database)
    page.open(f"/jobs/{job}")
    chart = "#curve [data-drawn]"
    texts = f"return [...document.querySelectorAll('{chart} text')].map((one) => one.textContent)"
    page.until(lambda: "Accuracy" in page.script(texts))
    assert "most important first" in page.script(texts)
    page.click("#curve .segmented a[href*='metric=loss']")
    page.until(lambda: "Loss" in page.script(texts))
    page.click("#curve .segmented a[href*='direction=least']")
    page.until(lambda: "most important first" not in page.script(texts))
    assert "Loss" in page.script(texts)
    page.script(
        "[...document.querySelectorAll('#curve-table nav a')].find((a) => "
        "a.textContent.includes('most')).click()"
    )
    page.until(lambda: "most" in page.one("#curve-table [aria-current]").text)
    assert page.one("#curve .segmented [aria-current]").text == "Loss"
    assert page.complaints() == []
    page.size(390, 844)
    for path in (f"/jobs/{job}", f"/jobs/new?kind=pruning&from={job - 1}"):
        page.open(path)
        assert page.script("return document.documentElement.scrollWidth") == 390, path


@pytest.mark.parametrize("dark", [False, True])
def test_phones_need_no_sideways_scrolling(page: Page, stage: SimpleNamespace, dark: bool) -> None:
    job = stage.seed.seed_job(stage.database, name="a" * 120)
    stage.seed.seed_worker(stage.database, "worker-" + "x" * 60)
    page.size(390, 844)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    paths = [
        "/",
        "/jobs/new",
        "/lab",
        f"/jobs/{job}",
        f"/jobs/{job}/heads/5/3",
        f"/jobs/{job}/examples/0",
    ]
    for path in [*paths, "/sql", "/operations", "/help", "/jobs/99"]:
        page.open(path)
        width = page.script("return document.documentElement.scrollWidth")
        assert width == 390, path
    page.open(f"/jobs/{job}")
    colour = page.script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(json.loads(str(colour).replace("rgb(", "[").replace(")", "]")))
    assert (brightness < 200) == dark


def test_a_tree_can_be_walked_by_keyboard(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, layers=2)
    summed = np.zeros((2, 8, 8))
    summed[1, 0, 2] = summed[0, 2, 4] = 1.0
    cells = interactions(summed, [Place(0), Place(1)]).to_json()
    with stage.database.write() as tx:
        tx.execute(update(schema.example_result).values(interactions=cells))
    page.open(f"/jobs/{job}/examples/0#tree")
    assert page.count("#tree svg .tree-node") == 2
    page.script("document.querySelector('#tree [name=root]').value = 'classifier'")
    page.click("#tree form button")
    page.until(lambda: "root=classifier" in page.driver.current_url)
    page.until(lambda: page.count("#tree svg .tree-node") == 3)
    page.script("document.querySelector('.tree-node').focus()")
    page.one(".tree-node:focus").send_keys(Keys.TAB)
    focused = page.one(".tree-node:focus")
    assert "position 2: read by [CLS] in L1" in focused.get_attribute("aria-label")
    assert page.script("return getComputedStyle(arguments[0]).outlineStyle", focused) == "solid"
    assert page.complaints() == []
