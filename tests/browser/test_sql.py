"""The SQL console in a browser: completion, the line at fault, cells, order, charts."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HEADS = "SELECT * FROM head_importance WHERE job_id = 1"


def suggestions(page: Page) -> list[str]:
    """The names that the editor suggests."""
    found = page.script(
        "return [...document.querySelectorAll('.suggestions:not([hidden]) li')]"
        ".map((one) => one.firstChild.textContent)"
    )
    assert isinstance(found, list)
    return found


def test_views_and_columns_are_completed(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database)
    page.open("/sql")
    area = page.one("#sql")
    area.send_keys("SELECT layer FROM head_im")
    page.until(lambda: suggestions(page) == ["head_importance"])
    assert area.get_attribute("aria-activedescendant") == "sql-suggestion-0"
    area.send_keys(Keys.ENTER)
    area.send_keys(" h WHERE h.mean_a")
    page.until(lambda: len(suggestions(page)) == 3)
    area.send_keys(Keys.ARROW_DOWN, Keys.TAB)
    assert area.get_property("value") == (
        "SELECT layer FROM head_importance h WHERE h.mean_attention_max"
    )
    area.send_keys(Keys.CONTROL + "z")
    assert str(area.get_property("value")).endswith("h.mean_a")
    area.send_keys(Keys.ESCAPE)
    assert suggestions(page) == []
    area.send_keys(" 'in a string he")
    assert suggestions(page) == []
    area.send_keys("' ", Keys.CONTROL + " ")
    assert suggestions(page)
    assert page.complaints() == []


def test_the_line_at_fault_is_marked(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database)
    page.open("/sql")
    page.one("#sql").send_keys("SELECT layer,\nmeen\nFROM head_importance", Keys.ESCAPE)
    page.one("#sql").send_keys(Keys.CONTROL + Keys.ENTER)
    assert "Did you mean 'mean'" in page.one("#sql-problems").text
    assert "line 2" in page.one("#sql-problems").text
    assert page.one(".editor-colours .fault").text == "meen"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_result_is_sorted_opened_and_drawn(
    page: Page, stage: SimpleNamespace, width: int
) -> None:
    stage.seed.seed_job(stage.database)
    page.size(width, 900)
    page.open(f"/sql?q={quote('SELECT job_id, spec, kind FROM jobs')}")
    page.click('.result-grid td button[name="cell"]')
    page.until(lambda: '"version": 1' in page.one("#whole-cell[open] pre").text)
    page.one("#whole-cell").send_keys(Keys.ESCAPE)
    page.until(lambda: page.count("#whole-cell[open]") == 0)
    page.open(f"/sql?q={quote(HEADS)}")
    page.click('button[name="sort"][value="6"]')
    page.until(lambda: "sort=6" in page.driver.current_url)
    assert page.one('th[aria-sort="ascending"]').text.startswith("rank")
    page.click('button[name="chart"][value="heads"]')
    page.one(".chart[data-drawn] svg")
    assert "sort=6" in page.driver.current_url
    assert page.one("[data-caption]").text == "mean by layer and head."
    page.script(
        "const choice = document.querySelector('select[name=y]'); choice.value = 'std';"
        "choice.dispatchEvent(new Event('input', { bubbles: true }));"
    )
    page.until(lambda: page.one("[data-caption]").text == "std by layer and head.")
    assert "y=std" in page.driver.current_url
    assert page.script("return document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints() == []


def test_a_query_is_explained_saved_and_opened_again(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database)
    page.open("/sql")
    page.one("#sql").send_keys("SELECT kind FROM jobs", Keys.ESCAPE)
    page.click('button[name="plan"]')
    page.until(lambda: "SCAN" in page.one("#result pre").text)
    page.click("#sql-form .primary")
    page.until(lambda: page.count("#result tbody tr") == 1)
    page.one("#query-title").send_keys("Kinds", Keys.ENTER)
    page.until(lambda: page.count(".saved li a") and page.one(".saved li a").text == "Kinds")
    page.open("/sql/queries")
    title = page.one('.own-query input[name="title"]')
    title.clear()
    title.send_keys("Kinds of jobs", Keys.ENTER)
    page.until(lambda: page.one(".own-query h3").text == "Kinds of jobs")
    page.click(".own-query h3 a")
    page.until(lambda: page.count("#result tbody tr") == 1)
    assert page.complaints() == []


def test_a_large_result_is_light_and_moves_nothing(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database, examples=100)
    watch = (
        "window.moved = 0; new PerformanceObserver((list) => { for (const one of list.getEntries())"
        " window.moved += one.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = page.driver.execute_cdp_cmd(command, {"source": watch})
    try:
        page.open(f"/sql?q={quote('SELECT * FROM head_scores')}")
        page.one(".editor-colours .keyword")
        assert page.script("return window.moved") == 0
    finally:
        command = "Page.removeScriptToEvaluateOnNewDocument"
        page.driver.execute_cdp_cmd(command, added)
    size = page.script("return performance.getEntriesByType('navigation')[0].decodedBodySize")
    assert isinstance(size, int)
    assert size < 100_000
