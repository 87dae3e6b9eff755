"""The page for operators in a browser: local times, live workers, order, removal, phone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import Page
from tests.helpers.databases import execute, rows
from tests.webui.seed_night import seed_night

pytestmark = pytest.mark.browser


def test_queues_are_drawn_and_workers_are_live(page: Page, stage: SimpleNamespace) -> None:
    seed_night(stage.database)
    page.open("/operations")
    page.until(lambda: page.count("#queues [data-figure][data-drawn] .for-screen svg.marks") == 3)
    assert page.count("#workers .chip-running") == 2
    execute(stage.database, "UPDATE worker SET state = 'stopped'")
    page.until(lambda: page.count("#workers .chip-cancelled") == 6)
    page.click("#workers nav a[href*='workers=failures']")
    page.until(lambda: "failures" in page.one("#workers nav [aria-current]").text)
    assert "workers=failures" in page.driver.current_url
    assert page.complaints() == []


def test_jobs_are_removed_by_keyboard(page: Page, stage: SimpleNamespace) -> None:
    seed_night(stage.database, jobs=8)
    page.open("/operations?disk=age")
    box = page.one("#disk input[type=checkbox]")
    job = box.get_attribute("value")
    page.script("arguments[0].focus()", box)
    box.send_keys(Keys.SPACE)
    page.one("#disk summary").send_keys(Keys.ENTER)
    page.one("#remove button.danger").send_keys(Keys.ENTER)
    page.until(lambda: not page.driver.find_elements("css selector", f"#disk [data-key='{job}']"))
    assert rows(stage.database, f"SELECT COUNT(*) FROM jobs WHERE job_id = {job}") == [(0,)]
    assert (
        page.driver.current_url.endswith("disk=age#disk") or "disk=age" in page.driver.current_url
    )
    assert page.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(
    page: Page, stage: SimpleNamespace, dark: bool
) -> None:
    seed_night(stage.database)
    execute(stage.database, "UPDATE attempt SET worker = 'gpu-' || worker || '-" + "x" * 60 + "'")
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    page.size(390, 844)
    ((name,),) = rows(stage.database, "SELECT MAX(worker) FROM attempt")
    for path in ("/operations", f"/workers/{name}"):
        page.open(path)
        for details in page.driver.find_elements("css selector", "main details:not(.confirm)"):
            page.script("arguments[0].open = true", details)
        assert page.script("return document.documentElement.scrollWidth") == 390, path
        assert page.complaints() == []
