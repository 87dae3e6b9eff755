"""The dashboard in headless Chromium, against a filled database behind a live server."""

from __future__ import annotations

import json
import os
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import update
from werkzeug.serving import make_server

from db import schema
from headwise.trees import interactions
from jobs.settings import load_settings
from tests.helpers.databases import sqlite_database
from tests.helpers.pruning_jobs import plan, run, submitted
from tests.helpers.trees import Place
from webui.app import create_app

pytestmark = pytest.mark.browser

WEBUI = Path(__file__).parents[1] / "webui"
CHROMIUM = Path(os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium"))
DRIVER = Path(os.environ.get("TEST_CHROMEDRIVER", "/usr/bin/chromedriver"))
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


class Page:
    """A browser on the dashboard."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
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

    def until(self, condition):  # type: ignore[no-untyped-def]
        """The condition's value once it is true."""
        wait = WebDriverWait(self.driver, 15, ignored_exceptions=[WebDriverException])
        return wait.until(lambda _: condition())

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        element = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def script(self, source: str, *arguments: object) -> object:
        """Run JavaScript."""
        return self.driver.execute_script(source, *arguments)

    def complaints(self) -> list[str]:
        """What the console says: refused by the policy, not found, or thrown."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM.exists() and DRIVER.exists()):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have chromium and chromium-driver")
        pytest.skip("needs chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=str(DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A live server on a database of its own, with the functions that fill it."""
    settings = load_settings({}, home=tmp_path)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    seeding = SimpleNamespace(**runpy.run_path(str(WEBUI / "seed.py")))
    good = runpy.run_path(str(WEBUI / "conftest.py"))["good_submission"]
    yield SimpleNamespace(
        database=database,
        seed=seeding,
        home=tmp_path,
        submission=lambda: good(tmp_path),
        address=f"http://127.0.0.1:{server.port}",
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(driver: webdriver.Chrome, stage: SimpleNamespace) -> Page:
    driver.get_log("browser")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    return Page(driver, stage.address)


def test_from_the_list_to_a_head_and_an_example(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database, name="demo", examples=30)
    page.open("/")
    page.click(".jobs .title")
    page.one("[data-chart='heads'].js-plotly-plot .hm image")
    page.click("[data-measures] label:nth-child(2)")
    page.until(lambda: "with sign" in page.one("[data-meaning]").text)
    page.click("#head-table a[href*='sort=mean_total']")
    page.until(lambda: "mean_total" in page.driver.current_url)
    assert page.count("th[aria-sort='descending']") == 1
    page.click("#head-table tbody th a")
    page.one("[data-chart='histogram'].js-plotly-plot .bars")
    first = page.one("h1").text
    page.script("document.activeElement.blur()")
    page.one("body").send_keys(Keys.ARROW_LEFT)
    page.until(lambda: page.one("h1").text != first)
    page.click(".examples th a")
    page.until(lambda: page.count(".arcs-stage path.arc") == 16)
    assert page.complaints() == []


def test_a_click_in_the_heat_map_opens_the_head(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, layers=2, heads=2)
    page.open(f"/jobs/{job}")
    page.one("[data-chart='heads'].js-plotly-plot .hm image")
    plot = page.one("[data-chart='heads'] .nsewdrag")
    page.script("arguments[0].scrollIntoView({block: 'center'})", plot)
    # In the middle of the lower right cell.
    webdriver.ActionChains(page.driver).move_to_element_with_offset(
        plot, plot.size["width"] // 4, plot.size["height"] // 4
    ).pause(0.3).perform()
    page.until(lambda: "Rank" in page.one("[data-chart='heads'] .hoverlayer").text)
    assert page.complaints() == []
    webdriver.ActionChains(page.driver).click().perform()
    page.until(lambda: page.driver.current_url.endswith(f"/jobs/{job}/heads/1/1"))


def test_layers_and_heads_of_an_example(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database)
    page.open(f"/jobs/{job}/examples/2")
    before = page.one("#words .sentence").get_attribute("innerHTML")
    page.click("#words .tabs a[href*='site=3']")
    page.until(lambda: page.one("#words .tabs [aria-current]").text == "L3")
    assert page.one("#words .sentence").get_attribute("innerHTML") != before
    page.click("#grid .grid tbody tr:nth-child(2) td:nth-of-type(3) a")
    page.until(lambda: "L1 H2" in page.one("#grid h3").text)
    row = page.one("#pairs tbody tr")
    page.script("arguments[0].scrollIntoView({block: 'center'})", row)
    webdriver.ActionChains(page.driver).move_to_element(row).perform()
    page.until(lambda: page.count(".arcs.singled path.arc.on") == 1)
    assert page.complaints() == []


def test_progress_is_live(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running", done=6, shard_size=3)
    page.open(f"/jobs/{job}")
    page.until(lambda: "7" in page.one("[data-live='computed']").text)
    with stage.database.write() as tx:
        tx.execute(update(schema.shard).where(schema.shard.c.shard_no == 2).values(progress=2))
    page.until(lambda: page.one("[data-live='computed']").text == "8")
    with stage.database.write() as tx:
        tx.execute(update(schema.shard).values(state="done", progress=3))
        tx.execute(update(schema.job).values(state="succeeded", finished_at=2e9))
    page.until(lambda: page.one("#status .chip").text == "succeeded")
    page.until(lambda: page.count("details.confirm form[action$='/delete']") == 1)
    assert page.complaints() == []


def test_a_tab_counts_on_without_news(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running", done=6, shard_size=3)
    page.open(f"/jobs/{job}")
    page.until(lambda: page.driver.title.startswith("58 % "))
    running = page.one("[data-live='elapsed']")
    assert running.text.startswith("2 min")
    before = running.text
    page.until(lambda: running.text != before)
    asked = (
        "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/'))"
    )
    page.until(lambda: len(page.script(asked)) > 2)
    statuses = [entry["responseStatus"] for entry in page.script(asked)]
    assert statuses[0] == 200
    assert 304 in statuses
    assert page.complaints() == []


def test_first_results_appear_with_their_charts(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, state="running")

    def set_shards(state: str) -> None:
        with stage.database.write() as tx:
            tx.execute(update(schema.shard).values(state=state))

    set_shards("ready")
    page.open(f"/jobs/{job}")
    page.until(lambda: "No results yet" in page.one("main").text)
    set_shards("done")
    page.one("[data-chart='heads'].js-plotly-plot .hm image")
    assert page.count("[data-measures] label") == 5
    assert "provisional" in page.one("#heads").text
    assert page.complaints() == []


def test_the_list_renews_itself_and_filters(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database, name="first", state="running", done=6)
    page.open("/")
    page.one(".chip-running")
    stage.seed.seed_job(stage.database, name="second", state="queued")
    page.until(lambda: page.count(".jobs tbody tr") == 2)
    page.one("input[type='search']").send_keys("fir")
    page.until(lambda: page.count(".jobs tbody tr") == 1)
    assert "q=fir" in page.driver.current_url


def test_the_form_checks_while_it_is_filled_in(page: Page, stage: SimpleNamespace) -> None:
    submission = stage.submission()
    page.open("/jobs/new")
    page.one("[id='model.name']").send_keys(submission["spec"]["model"]["name"])
    page.one("[id='data.path']").send_keys("nowhere.jsonl" + Keys.TAB)
    page.until(lambda: "no such file" in page.one("[id='problem-data.path']").text)
    assert page.one("[id='data.path']").get_attribute("aria-invalid") == "true"
    file = page.one("#upload")
    file.send_keys(submission["spec"]["data"]["path"])
    page.until(lambda: "/uploads/" in str(page.one("[id='data.path']").get_attribute("value")))
    page.click("[data-preview-table] th button")
    page.until(lambda: "Shards" in page.one("[data-estimate]").text)
    assert "2 layers × 3 heads" in page.one("[data-estimate]").text
    limit = page.one("[id='data.limit']")
    limit.send_keys("0" + Keys.TAB)
    page.until(lambda: page.one("[id='problem-data.limit']").text != "")
    limit.send_keys(Keys.BACKSPACE, "2", Keys.TAB)
    page.until(lambda: "2" in page.one("[data-estimate]").text)
    page.click("#job-form .primary")
    page.until(lambda: page.driver.current_url.endswith("/jobs/1"))
    assert page.one("#status .chip").text == "queued"


def test_a_refused_form_puts_the_focus_on_the_fault(page: Page, stage: SimpleNamespace) -> None:
    page.open("/jobs/new")
    page.click("#job-form .primary")
    page.until(lambda: page.count("[aria-invalid='true']") >= 1)
    focused = page.script("return document.activeElement.id")
    assert focused == page.one("[aria-invalid='true']").get_attribute("id") == "model.name"


def test_sql_by_keyboard(page: Page, stage: SimpleNamespace) -> None:
    stage.seed.seed_job(stage.database)
    page.open("/sql")
    page.one("#sql").send_keys("SELECT rank FROM head_importance ORDER BY rank LIMIT 3")
    page.one("#sql").send_keys(Keys.CONTROL + Keys.ENTER)
    page.until(lambda: page.count("#result tbody tr") == 3)
    assert "q=SELECT" in page.driver.current_url
    page.click(".saved a")
    page.until(lambda: page.count("#result tbody tr") == 10)
    assert page.complaints() == []


def test_the_curves_of_a_pruning_job(page: Page, stage: SimpleNamespace) -> None:
    settings = load_settings({}, home=stage.home)
    job = submitted(stage.database, settings, steps=4, within_layer=[1], within=5)
    plan(stage.database, settings)
    run(stage.database)
    page.open(f"/jobs/{job}")
    chart = "#curve .js-plotly-plot"
    page.until(lambda: page.count(f"{chart} .scatterlayer .trace") == 5)
    axis = f"return document.querySelector('{chart} .ytitle').textContent"
    assert page.script(axis) == "Accuracy"
    page.script("document.querySelector('#curve input[value=loss]').click()")
    page.until(lambda: page.script(axis) == "Loss")
    page.script("document.querySelector('#curve input[value=least]').click()")
    page.until(lambda: page.count(f"{chart} .scatterlayer .trace") == 4)
    page.script(
        "[...document.querySelectorAll('#curve-table nav a')].find((a) => "
        "a.textContent.includes('most')).click()"
    )
    page.until(lambda: "most" in page.one("#curve-table [aria-current]").text)
    assert page.script("return document.querySelector('#curve input[value=loss]').checked")
    assert page.complaints() == []
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    for path in (f"/jobs/{job}", f"/jobs/new?kind=pruning&from={job - 1}"):
        page.open(path)
        assert page.script("return document.documentElement.scrollWidth") == 390, path


@pytest.mark.parametrize("dark", [False, True])
def test_phones_need_no_sideways_scrolling(page: Page, stage: SimpleNamespace, dark: bool) -> None:
    job = stage.seed.seed_job(stage.database, name="a" * 120)
    stage.seed.seed_worker(stage.database, "worker-" + "x" * 60)
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    paths = [
        "/",
        "/jobs/new",
        "/explain",
        f"/jobs/{job}",
        f"/jobs/{job}/heads/5/3",
        f"/jobs/{job}/examples/0",
    ]
    for path in [*paths, "/sql", "/workers", "/help", "/jobs/99"]:
        page.open(path)
        width = page.script("return document.documentElement.scrollWidth")
        assert width == 390, path
    page.open(f"/jobs/{job}")
    colour = page.script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(json.loads(str(colour).replace("rgb(", "[").replace(")", "]")))
    assert (brightness < 200) == dark


def test_a_tree_can_be_walked_by_keyboard(page: Page, stage: SimpleNamespace) -> None:
    job = stage.seed.seed_job(stage.database, layers=2)
    summed = np.zeros((2, 8, 8))
    summed[1, 0, 2] = summed[0, 2, 4] = 1.0
    cells = interactions(summed, [Place(0), Place(1)]).to_json()
    with stage.database.write() as tx:
        tx.execute(update(schema.example_result).values(interactions=cells))
    page.open(f"/jobs/{job}/examples/0#tree")
    assert page.count("#tree svg .tree-node") == 3
    page.script("document.querySelector('.tree-node').focus()")
    page.one(".tree-node:focus").send_keys(Keys.TAB)
    focused = page.one(".tree-node:focus")
    assert "position 2: read by [CLS] in L1" in focused.get_attribute("aria-label")
    assert page.script("return getComputedStyle(arguments[0]).outlineStyle", focused) == "solid"
    page.script("document.querySelector('.tree-form [name=root]').value = 'outgoing'")
    page.click(".tree-form button")
    page.until(lambda: "root=outgoing" in page.driver.current_url)
    page.until(lambda: page.count("#tree svg .tree-node") == 2)
    assert page.complaints() == []
