"""axe-core finds nothing to complain about, light and dark, wide and narrow.

Pages without people or a busy night: test_every_page.py, which has them open already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.browser.axe import VIEWS, emulate, violations
from tests.browser.page import Page
from tests.webui.accounts.people import PASSWORD, Lab, open_lab
from tests.webui.pages.studies.test_studies import finished_study
from tests.webui.seed_night import seed_night

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def complaints(page: Page, path: str, theme: str, width: int) -> list[str]:
    """Open a page and look at it."""
    emulate(page, theme, width)
    page.open(path)
    page.until(lambda: page.script("return document.readyState") == "complete")
    return violations(page, path)


@VIEWS
def test_the_report_of_a_study(page: Page, stage: SimpleNamespace, theme: str, width: int) -> None:
    study, *_ = finished_study(stage.database)
    found = complaints(page, f"/api/v1/studies/{study}/report.html", theme, width)
    assert not found, "\n".join(found)
    assert page.script("return document.documentElement.scrollWidth <= window.innerWidth")


@VIEWS
def test_the_pages_of_a_busy_night(
    page: Page, stage: SimpleNamespace, theme: str, width: int
) -> None:
    seed_night(stage.database)
    paths = ("/", "/operations")
    found = [line for path in paths for line in complaints(page, path, theme, width)]
    assert not found, "\n".join(found)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A dashboard where people sign in."""
    with open_lab(tmp_path / "home") as lab:
        lab.add("Root", "admin")
        lab.add("Ada")
        yield lab


@VIEWS
def test_the_pages_of_people(page: Page, lab: Lab, theme: str, width: int) -> None:
    page.address = lab.address
    try:
        found = complaints(page, "/sign-in", theme, width)
        page.one("input[name=name]").send_keys("Root")
        page.one("input[name=password]").send_keys(PASSWORD)
        page.click("main form button")
        page.until(lambda: "/sign-in" not in page.driver.current_url)
        for path in ("/account", "/accounts", "/audit", "/"):
            found += complaints(page, path, theme, width)
    finally:
        page.driver.delete_all_cookies()
    assert not found, "\n".join(found)
