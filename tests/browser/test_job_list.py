"""The list of jobs as one works with it: sorted, filtered, folded, and many jobs at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import Page

pytestmark = pytest.mark.browser


@pytest.fixture
def jobs(stage: SimpleNamespace) -> list[int]:
    """Three that are paused, and a study of two that succeeded, at the top."""
    seed, database = stage.seed, stage.database
    found = [
        seed.seed_job(database, name=name, state="paused", control="pause", done=0, examples=6)
        for name in ("beta", "alpha", "gamma")
    ]
    steps = [seed.seed_job(database, name=name, examples=2) for name in ("first", "second")]
    with database.write() as tx:
        tx.run("INSERT INTO study (id, name, user_name, created_at) VALUES (1, 'paper', 'x', 1)")
        for place, job in enumerate(steps):
            values = {"place": place, "job": job, "step": f"s{place}"}
            tx.run("INSERT INTO study_step VALUES (1, :step, :place, :job)", **values)
        tx.run("UPDATE job SET place = :last WHERE id IN :jobs", last=steps[-1], jobs=steps)
    return found


def shown(page: Page) -> list[str]:
    """The titles of the rows that are seen."""
    found = page.script(
        "return [...document.querySelectorAll('.list a.title')]"
        ".filter((link) => link.offsetParent).map((link) => link.textContent)"
    )
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("width", [1440, 390])
def test_a_study_unfolds_and_facets_narrow(page: Page, jobs: list[int], width: int) -> None:
    page.size(width, 900)
    page.open("/")
    page.one(".list .study")
    assert shown(page) == ["gamma", "alpha", "beta"]
    page.click(".list .study summary")
    page.until(lambda: shown(page) == ["second", "first", "gamma", "alpha", "beta"])
    page.one("select[name='phase']").send_keys("paused")
    page.until(lambda: "phase=paused" in page.driver.current_url)
    page.until(lambda: shown(page) == ["gamma", "alpha", "beta"])
    assert "(2)" in page.one("option[value='succeeded']").get_attribute("textContent")
    wide = "return document.documentElement.scrollWidth > innerWidth"
    assert page.script(wide) is False
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1440, 390])
def test_many_jobs_at_once(page: Page, stage: SimpleNamespace, jobs: list[int], width: int) -> None:
    page.size(width, 900)
    page.open("/")
    for job in jobs[:2]:
        page.click(f"input[name='job'][value='{job}']")
    page.until(lambda: page.one("[data-ticked]").text == "With 2 chosen jobs:")
    page.click(".bulk button[value='resume']")
    page.until(lambda: "2 jobs done" in page.one("h1").text)
    with stage.database.read() as tx:
        controls = [row.control for row in tx.run("SELECT control FROM job ORDER BY id")][:3]
    assert controls == ["run", "run", "pause"]
    page.click(".head-row .primary")
    page.one(".list")
    assert page.complaints() == []


@pytest.mark.parametrize("key", [False, True])
def test_chosen_jobs_are_compared(page: Page, stage: SimpleNamespace, key: bool) -> None:
    """By the button, and by the key c."""
    jobs = [stage.seed.seed_job(stage.database, name=name, examples=4) for name in ("one", "two")]
    page.size(1440, 900)
    page.open("/")
    page.one("[data-ticked]")
    for job in jobs:
        page.click(f"input[name='job'][value='{job}']")
    page.until(lambda: page.one("[data-ticked]").text == "With 2 chosen jobs:")
    if key:
        page.one("body").send_keys("c")
    else:
        page.click("[data-compare]")
    page.until(lambda: "/compare?jobs=" in page.driver.current_url)
    assert page.one("h1").text == "Two jobs compared"
    chosen = page.driver.current_url.partition("jobs=")[2].replace("%2C", ",").split(",")
    assert sorted(map(int, chosen)) == sorted(jobs)
    assert page.complaints() == []


def test_columns_sort_both_ways(page: Page, jobs: list[int]) -> None:
    page.size(1440, 900)
    page.open("/?phase=paused")
    page.click("th a[href*='sort=-name']")
    page.until(lambda: shown(page) == ["gamma", "beta", "alpha"])
    page.click("th[aria-sort='descending'] a")
    page.until(lambda: shown(page) == ["alpha", "beta", "gamma"])
    assert "sort=name" in page.driver.current_url
    assert "phase=paused" in page.driver.current_url


def test_keys_choose_jobs(page: Page, jobs: list[int]) -> None:
    page.size(1440, 900)
    page.open("/?phase=paused")
    page.one("[data-ticked]")
    body = page.one("body")
    body.send_keys("j")
    page.driver.switch_to.active_element.send_keys("j")
    page.driver.switch_to.active_element.send_keys("x")
    page.until(lambda: page.one("[data-ticked]").text == "With 1 chosen job:")
    assert page.one(f"input[name='job'][value='{jobs[1]}']").is_selected()
    page.driver.switch_to.active_element.send_keys("?")
    page.until(lambda: page.count("dialog.keys[open]") == 1)
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: page.count("dialog.keys[open]") == 0)
