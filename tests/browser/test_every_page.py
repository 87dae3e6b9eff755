"""Every page is small, accessible, stands still, asks no other host, and works without scripts.

Addresses of the form `/assets/...` are kept by browsers for a year and count once, not per page.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.remote.webelement import WebElement

from jobs.settings import load_settings
from tests.browser.axe import VIEWS, emulate, violations
from tests.browser.page import Page
from tests.helpers.apps import new_app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

MOST_BYTES = 100_000
"""Of a page as it comes over the network, with what its scripts ask for, without assets."""
LEAST_SHIFT = 0.001
"""Less is a line of a table by a fraction of a pixel; reports have two or three digits."""
ASKED = """
const asked = ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind));
return asked.map((one) => [one.name, one.encodedBodySize]);
"""
SCROLLED = """
const [done] = [...arguments].slice(-1);
const step = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
(async () => {
  for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
    scrollTo(0, y);
    await step();
  }
  for (const one of document.querySelectorAll('[data-figure]')) {
    if (one.offsetParent) while (!('drawn' in one.dataset)) await step();
  }
  done();
})();
"""
"""Scroll to the end, and wait until all figures are drawn."""
SHIFTS = """
const [done] = [...arguments].slice(-1);
new PerformanceObserver((list) => {
  done(list.getEntries().map(({ value, sources }) => [
    value, sources.map(({ node }) => node?.parentElement?.outerHTML?.slice(0, 120) ?? ''),
  ]));
}).observe({ type: 'layout-shift', buffered: true });
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done([]))));
"""
"""The layout shifts since the page began, with the elements that moved."""
UNREADABLE = """
const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.offsetWidth > 0;
const title = document.querySelector('main h1, h1');
const buttons = [...document.querySelectorAll('main button[type=button]')].filter(shown);
return [...(title && shown(title) ? [] : ['no title']), ...buttons.map((one) => one.outerHTML)];
"""
"""Faults of a page where no script runs: no title, and buttons for scripts alone."""
BUTTON = """
const opened = (form) => {
  const folded = document.querySelectorAll('details:not([open])');
  const around = [...folded].filter((one) => one.contains(form));
  for (const one of around) one.open = true;
  return around;
};
const submits = (one) => one.matches('button:not([type=button])') && one.offsetParent;
const submitter = (form) => [...form.elements].find(submits) ?? null;
"""
"""The first button that submits a form, once what is folded around the form is open."""
TARGETS = f"""{BUTTON}
return [...document.forms].map((form) => {{
  const around = opened(form);
  const button = submitter(form);
  const given = (name) => button?.getAttribute(`form${{name}}`) ?? form.getAttribute(name);
  const method = form.offsetHeight > 0 ? given('method') ?? 'get' : 'dialog';
  for (const one of around) one.open = false;
  return [method.toUpperCase(), new URL(given('action') ?? '', location).href];
}});
"""
"""Method and address of every form; those in what a script opens are dialogs."""
READY = f"""{BUTTON}
const form = document.forms[arguments[0]];
form.noValidate = true; // the server refuses what is missing
opened(form);
const button = submitter(form);
button?.scrollIntoView({{ block: 'center' }});
return button;
"""
"""The button of a form, where it can be clicked."""


@pytest.fixture
def without_scripts(page: Page) -> Iterator[Page]:
    """The page in a browser that runs no script of it."""
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield page
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.fixture
def without_notices(page: Page) -> Iterator[Page]:
    """The page without what changes while one looks: what is wrong with the installation."""
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/notices*"]})
    yield page
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def opened(page: Page, path: str) -> None:
    page.open(path)
    page.until(lambda: page.script("return document.readyState") == "complete")


@VIEWS
def test_no_page_is_large_moves_asks_another_host_or_has_a_barrier(
    without_notices: Page, every_page: list[str], theme: str, width: int
) -> None:
    page, found = without_notices, []
    page.driver.set_script_timeout(120)
    for path in every_page:
        emulate(page, theme, width)
        opened(page, path)
        page.driver.execute_async_script(SCROLLED)
        asked = cast("list[tuple[str, int]]", page.script(ASKED))
        sent = sum(size for name, size in asked if "/assets/" not in name)
        shifts = page.driver.execute_async_script(SHIFTS)
        found += [
            f"{path} asks {name}" for name, _ in asked if not name.startswith(page.address + "/")
        ]
        found += [f"{path}: {sent:,} bytes"] if not 0 < sent <= MOST_BYTES else []
        moved = [f"{path} moves by {value:.4f}: {nodes}" for value, nodes in shifts]
        found += moved if sum(value for value, _ in shifts) >= LEAST_SHIFT else []
        # The reference of the API has thousands of elements alike: once is enough.
        if (path, theme) != ("/help/api", "dark"):
            page.script("scrollTo(0, 0)")
            found += violations(page, path)
    assert found == [], "\n".join(found)


def test_every_page_reads_without_scripts(without_scripts: Page, every_page: list[str]) -> None:
    page, found = without_scripts, []
    for path in every_page:
        opened(page, path)
        if "Internal error" in page.driver.title:
            found.append(f"{path}: an internal error")
        found += [f"{path}: {one}" for one in cast("list[str]", page.script(UNREADABLE))]
    assert found == [], "\n".join(found)


def test_every_form_is_submitted_without_scripts(
    without_scripts: Page, stage: SimpleNamespace, every_page: list[str]
) -> None:
    """Each once, with what stands in it; what is refused is refused on a page."""
    page = without_scripts
    urls = new_app(load_settings({}, home=stage.home)).url_map.bind("127.0.0.1")
    done: set[tuple[str, str]] = set()
    found = []
    for path in every_page:
        place, targets = 0, targets_of(page, path)
        while place < len(targets):
            method, address = targets[place]
            target = "" if method == "DIALOG" else urls.match(urlsplit(address).path, method)[0]
            if target and (method, target) not in done:
                done.add((method, target))
                button = cast("WebElement | None", page.script(READY, place))
                found += [f"{path}: {method} {target}: {one}" for one in complaint(page, button)]
                targets = targets_of(page, path)  # it may have changed the page
            place += 1
    assert found == [], "\n".join(found)
    assert {("POST", "jobs.act"), ("POST", "console.run"), ("POST", "new_job.create")} <= done


def targets_of(page: Page, path: str) -> list[tuple[str, str]]:
    """Open a page; returns the method and the address of each of its forms."""
    opened(page, path)
    return cast("list[tuple[str, str]]", page.script(TARGETS))


def complaint(page: Page, button: WebElement | None) -> list[str]:
    """Submit a form by its button, and look at the page that comes."""
    if button is None:
        return ["has no button"]
    before = page.one("html")
    button.click()
    page.until(lambda: page.one("html") != before)
    status = page.script("return performance.getEntriesByType('navigation')[0].responseStatus")
    if not isinstance(status, int) or status >= 500:
        return [f"answers {status}"]
    return [] if page.count("h1") else ["leads to no page"]
