"""One headless Chromium for all tests, and a filled database behind a live server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from selenium.webdriver import Chrome
from werkzeug.serving import make_server

from jobs.settings import load_settings
from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.webui import seed
from tests.webui.conftest import good_submission


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A live server on a database of its own, with the functions that fill it."""
    settings = load_settings({}, home=tmp_path)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    app = new_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield SimpleNamespace(
        database=database,
        seed=seed,
        home=tmp_path,
        submission=lambda: good_submission(tmp_path),
        address=f"http://127.0.0.1:{server.port}",
    )
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions["headwise"].database.close()
    database.close()


@pytest.fixture
def page(driver: Chrome, stage: SimpleNamespace) -> Iterator[Page]:
    page = Page(driver, stage.address)
    page.leave()
    yield page
    page.leave()
