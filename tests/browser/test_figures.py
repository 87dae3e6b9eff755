"""Figures in a browser: under the policy, from one host, on paper, without scripts."""

from __future__ import annotations

import base64
import re
import urllib.request
from types import SimpleNamespace

import pytest

from tests.browser.page import Page

pytestmark = pytest.mark.browser

HOSTS = "return performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)"


def drawn(page: Page, count: int) -> None:
    """Wait until all figures of the page are drawn."""
    page.until(lambda: page.count("[data-figure][data-drawn] svg.marks") >= count)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_drawn_by_the_dashboards_own_files(
    page: Page, stage: SimpleNamespace, scheme: str
) -> None:
    job = stage.seed.seed_job(stage.database)
    theme = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
    page.open(f"/jobs/{job}")
    drawn(page, 2)
    assert set(page.script(HOSTS)) == {stage.address}  # type: ignore[call-overload]
    assert page.complaints() == []
    # On paper colours are light: a dark page has a picture of its own for it.
    assert page.count(".for-paper:not(.for-screen)") == (2 if scheme == "dark" else 0)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": theme})
    shown = "return [...document.querySelectorAll('.for-paper')].map((one) => one.offsetHeight)"
    assert all(height > 100 for height in page.script(shown))  # type: ignore[union-attr]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_page_is_printed_with_every_figure(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database)
    page.open(f"/jobs/{job}")
    drawn(page, 2)
    answer = page.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(answer["data"]).startswith(b"%PDF-")
    assert page.complaints() == []


def test_figures_without_scripts(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database)
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(f"/jobs/{job}?measure=mean_total")
        picture = page.one("#heads .chart img")
        assert "measure=mean_total" in str(picture.get_attribute("src"))
        page.script("arguments[0].scrollIntoView()", picture)
        page.until(lambda: picture.size["height"] > 100 and picture.size["width"] > 200)
        page.click("#heads .segmented a:last-child")
        page.until(lambda: "measure=mean_attention_mean" in page.driver.current_url)
        assert "Attention, mean by layer and head" in page.one("#heads figcaption").text
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_figures_stay_when_a_page_renews_itself(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database)
    page.open(f"/jobs/{job}")
    drawn(page, 2)
    page.script("document.querySelector('#heads svg.marks').dataset.seen = 'yes'")
    page.click("#head-table a[href*='sort=mean_total']")
    page.until(lambda: "mean_total" in page.driver.current_url)
    assert page.count("#heads svg.marks[data-seen]") == 1


LEGENDS = """
return [...document.querySelectorAll('[data-figure]')].flatMap((figure) => {
  const room = figure.getBoundingClientRect();
  return [...figure.querySelectorAll('.role-legend text')].map((text) => {
    const { left, right } = text.getBoundingClientRect();
    return [text.textContent, left >= room.left - 1 && right <= room.right + 1];
  });
});
"""


def test_a_telephone_shows_whole_legends(
    page: Page, stage: SimpleNamespace, filled: dict[str, str]
) -> None:
    with urllib.request.urlopen(stage.address + filled["pruning"]) as answer:
        reserved = re.search(r'"if-narrow" width="1" height="(\d+)"', answer.read().decode())
    page.size(390, 844)
    page.open(filled["pruning"])
    drawn(page, 1)
    within = dict(page.script(LEGENDS))  # type: ignore[call-overload]
    assert {"Heads removed", "Ranking", "random order"} <= set(within)
    assert all(within.values()), within
    assert reserved
    assert page.one("svg.marks").size["height"] <= int(reserved[1])
