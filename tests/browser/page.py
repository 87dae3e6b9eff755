"""A page of a dashboard as a test looks at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")


class Page:
    """A browser on the dashboard at an address."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self.address + path)

    def one(self, selector: str) -> WebElement:
        """The first element, waited for."""
        return self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))[0]

    def count(self, selector: str) -> int:
        """Number of elements."""
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def until(self, condition: Callable[[], T], seconds: float = 90) -> T:
        """The condition's value once it is true. The page may renew itself while it is read."""
        wait = WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=[WebDriverException])
        return wait.until(lambda _: condition())

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        self.until(lambda: self._click(selector))

    def _click(self, selector: str) -> bool:
        element = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        return True

    def script(self, source: str, *arguments: object) -> object:
        """Run JavaScript."""
        return self.driver.execute_script(source, *arguments)

    def size(self, width: int, height: int) -> None:
        """Set the size of the window's inside; a narrow one is a phone's."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def complaints(self) -> list[str]:
        """Complaints about this server: refused by the policy, not found, or thrown."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in said if self.address in message]

    def leave(self) -> None:
        """Go where nothing asks a server any more, as a new window."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.size(1280, 900)
        self.driver.get_log("browser")
