"""Figures in a browser: under the policy, from one host, on paper, without scripts."""

from __future__ import annotations

import re
import urllib.request
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headwise.figures.palette import LIGHT, channels
from tests.browser.page import Page
from tests.headwise.figures.made import FIGURES
from webui.figures.shown import ShownChart

pytestmark = pytest.mark.browser

LIGHT_INK = f"rgb({', '.join(map(str, channels(LIGHT.text)))})"
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


PRINTED = """
const wide = (one) => one.getBoundingClientRect().width;
const shown = (selector) => [...document.querySelectorAll(selector)].filter((one) => wide(one) > 0);
const ink = (one) => getComputedStyle(one).fill;
return {
  charts: shown('.for-paper svg.marks').map(wide),
  titles: shown('.for-paper .role-axis-title text').map(ink),
  drawings: shown('.drawing .if-wide > svg.drawn').map((one) => one.viewBox.baseVal.width),
  screens: shown('.for-screen, .drawing .if-narrow').length,
};
"""


@pytest.mark.parametrize(
    ("path", "charts", "drawings"),
    [
        ("jobs.show", 2, 0),
        ("studies.show", 2, 0),
        ("results.example", 0, 3),
        ("jobs compared", 3, 0),
        ("a head's matrix", 2, 0),
    ],
)
def test_paper_has_the_wide_pictures_in_light_colours(
    page: Page,
    filled: dict[str, str],
    path: str,
    charts: int,
    drawings: int,
) -> None:
    """Also of a dark phone: A4 within the browser's margins is 718 pixels wide."""
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    page.size(390, 844)
    page.open(filled[path])
    page.until(lambda: page.count(".for-paper svg.marks") == page.count("[data-figure]"))
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    for width in (390, 600, 718):
        page.size(width, 844)
        printed = cast("dict[str, Any]", page.script(PRINTED))
        assert len(printed["charts"]) >= charts, printed
        assert all(170 < across <= 641 for across in printed["charts"]), printed
        assert {*printed["titles"]} <= {LIGHT_INK}, printed
        assert len(printed["drawings"]) == drawings
        assert printed["screens"] == 0
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


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


ADDED = """
const [figures] = arguments;
const main = document.querySelector('main');
main.replaceChildren(...figures.map(([key, spec]) => {
  const card = Object.assign(document.createElement('figure'), { className: 'card chart-card' });
  card.innerHTML = '<div class="chart" data-figure></div><script type="application/json"></script>';
  card.firstChild.dataset.figure = card.lastChild.id = key;
  card.lastChild.textContent = spec;
  return card;
}));
document.dispatchEvent(new Event('headwise:updated'));
"""
CUT = """
return [...document.querySelectorAll('[data-figure]')].flatMap((figure) => {
  const room = figure.closest('.card').getBoundingClientRect();
  const texts = [...figure.querySelectorAll('.for-screen .mark-text text')];
  return texts.filter((text) => {
    const { left, right } = text.getBoundingClientRect();
    const axis = figure.dataset.figure === 'matrix' ? '.role-axis-title' : '.role-axis';
    const short = text.closest(`${axis}, .role-legend`) && text.textContent.endsWith('…');
    return text.textContent && (short || left < room.left || right > room.right);
  }).map((text) => [figure.dataset.figure, text.textContent]);
});
"""
OVERLAPS = """
const over = (one, other) => {
  const [a, b] = [one, other].map((text) => text.getBoundingClientRect());
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
};
return [...document.querySelectorAll('.for-screen .role-axis-label')].flatMap((axis) => {
  const texts = [...axis.querySelectorAll('text')].filter((text) => text.textContent);
  const shown = texts.filter((text) => getComputedStyle(text).opacity !== '0');
  return shown.slice(1).map((text, at) => [shown[at], text]).filter((pair) => over(...pair))
    .map((pair) => pair.map((text) => text.textContent));
});
"""
HEIGHTS = """
const high = (one) => one.querySelector('.for-screen').firstChild.getBoundingClientRect().height;
const figures = [...document.querySelectorAll('[data-figure]')];
return Object.fromEntries(figures.map((figure) => [figure.dataset.figure, high(figure)]));
"""


@pytest.mark.parametrize("width", [390, 800, 1440])
def test_no_figure_has_a_text_that_is_cut(page: Page, stage: SimpleNamespace, width: int) -> None:
    page.size(width, 844)
    page.open(f"/jobs/{stage.seed.seed_job(stage.database)}")
    drawn(page, 2)
    shown = [ShownChart(key=key, figure=make()) for key, make in FIGURES.items()]
    page.script(ADDED, [[one.key, str(one.spec).replace("\\u003c", "<")] for one in shown])
    drawn(page, len(shown))
    assert page.script(CUT) == []
    assert page.script(OVERLAPS) == []
    if width == 800:
        return  # what is kept free for a picture is of a phone's width, or of a desk's
    heights = cast("dict[str, float]", page.script(HEIGHTS))
    reserved = {one.key: one.narrow_height if width < 520 else one.height for one in shown}
    assert {key: height for key, height in heights.items() if height > reserved[key] + 1} == {}


LEGENDS = """
return [...document.querySelectorAll('[data-figure]')].flatMap((figure) => {
  const room = figure.getBoundingClientRect();
  return [...figure.querySelectorAll('.for-screen .role-legend text')].map((text) => {
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
