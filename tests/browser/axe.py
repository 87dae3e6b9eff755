"""axe-core in the browser, and the views in which it looks at a page."""

from __future__ import annotations

from typing import Any

import pytest
from selenium_axe_python import Axe

from tests.browser.page import Page

VIEWS = pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
ONLY: Any = "{resultTypes: ['violations'], preload: false}"


def emulate(page: Page, theme: str, width: int) -> None:
    """Have the browser prefer a theme in a window of a width."""
    scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    page.size(width, 1000)


def violations(page: Page, path: str) -> list[str]:
    """Run every rule of axe-core on the open page: rule, number of elements, the first one."""
    if "Internal error" in page.driver.title:
        return [f"{path}: an internal error"]
    page.driver.set_script_timeout(120)
    axe = Axe(page.driver)
    axe.inject()
    return [
        f"{path}: {found['id']}, {len(found['nodes'])} times: {found['nodes'][0]['html'][:200]} "
        f"{found['nodes'][0].get('failureSummary', '')[:200]}"
        for found in axe.run(options=ONLY)["violations"]
    ]
