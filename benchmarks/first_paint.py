"""First paint of a dashboard's pages in Chromium, for docs/explanation/benchmarks.md.

    python -m benchmarks.first_paint http://127.0.0.1:8600 / /jobs/1 /studies/1 /operations /help

Times are the first contentful paint, from the start of the navigation: connection, answer,
style sheets, layout. Without a cache it is somebody's first visit, with one any later visit.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from benchmarks.page import machine, publish

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
PAINT = """
const [done] = [...arguments].slice(-1);
new PerformanceObserver((list) => {
  const found = list.getEntriesByName('first-contentful-paint')[0];
  if (found) done(found.startTime);
}).observe({ type: 'paint', buffered: true });
"""


def main() -> None:
    """Measure the pages and write their section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_paint")
    parser.add_argument("address", help="of the dashboard")
    parser.add_argument("paths", nargs="+", help="pages, from /")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--print", action="store_true", help="do not write docs/explanation/benchmarks.md"
    )
    options = parser.parse_args()
    with browser() as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        rows = [
            (path, *measured(driver, options.address + path, options.repeats))
            for path in options.paths
        ]
    publish("first paint", section(rows, options.repeats), write=not options.print)


@contextmanager
def browser() -> Iterator[Chrome]:
    """A headless Chromium, Debian's."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver") or ""))
    try:
        yield driver
    finally:
        driver.quit()


def measured(driver: Chrome, url: str, repeats: int) -> tuple[float, float, float]:
    """Milliseconds to the first paint: median without a cache, median and slowest with one."""
    times = {}
    for cached in (False, True):
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": not cached})
        times[cached] = [painted(driver, url) for _ in range(repeats + 1)][1:]
    return median(times[False]), median(times[True]), max(times[True])


def painted(driver: Chrome, url: str) -> float:
    """Milliseconds from the start of a navigation to its first contentful paint."""
    driver.get(url)
    return float(driver.execute_async_script(PAINT))


def section(rows: Sequence[tuple[str, float, float, float]], repeats: int) -> str:
    """The table as Markdown."""
    lines = [
        f"{machine()}; {repeats} visits of each page",
        "",
        "| page | first paint, first visit | later visits | slowest of them |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| `{path}` | {a:.0f} ms | {b:.0f} ms | {c:.0f} ms |" for path, a, b, c in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
