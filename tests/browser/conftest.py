"""One headless Chromium for all tests, and a filled database behind a live server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from selenium.webdriver import Chrome
from werkzeug.serving import make_server

from db.console.own_queries import note, save
from jobs.people import LOCAL
from jobs.settings import load_settings
from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.helpers.apps import new_app
from tests.helpers.attack_jobs import attack_spec, finished_attack
from tests.helpers.attack_jobs import source_job as mined_job
from tests.helpers.databases import sqlite_database
from tests.helpers.matrices import seed_matrix
from tests.helpers.pruning_jobs import plan, run, submitted
from tests.webui import seed
from tests.webui.conftest import good_submission
from tests.webui.pages.studies.test_studies import finished_study


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


NO_PAGES = {
    *("assets.serve", "assets.favicon", "ops.healthz", "ops.readyz", "ops.metrics"),
    # They lead to other pages.
    *("jobs.moved", "jobs.about", "operations.old_address", "lab.old_form", "lab.old_result"),
    *(
        "console.download",
        "console.cell",
        "console.draw_chart",
        "watch.download",
        "results.export",
        "lab.export",
    ),  # files
    # Parts of pages.
    *("notifications.ended", "watch.notices", "watch.waiting", "operations.processes"),
    *("sign_in.begin_oidc", "sign_in.finish_oidc"),  # the identity provider's page
}
"""Endpoints for GET that are no pages of their own."""


@pytest.fixture
def filled(stage: SimpleNamespace) -> dict[str, str]:
    """A database with something on every page; an address for every endpoint that needs one."""
    settings = load_settings({}, home=stage.home)
    database, seed = stage.database, stage.seed
    pruning = submitted(database, settings)
    plan(database, settings)
    run(database)
    mined = mined_job(database)
    with database.write() as tx:
        given = "SELECT spec FROM job WHERE id = :source"
        tx.run(
            f"UPDATE job SET spec = ({given}) WHERE id = :mined", source=pruning - 1, mined=mined
        )
    attack = finished_attack(database, attack_spec(mined))
    first, *steps = finished_study(database, "first")
    second, *_ = finished_study(database, "second")
    with database.write() as tx:  # steps that need each other
        step = "INSERT INTO study_step (study_id, step, position, job_id) VALUES (:study, "
        tx.run(f"{step} 'ranked', 8, :job)", study=second, job=pruning - 1)
        tx.run(f"{step} 'pruning', 9, :job)", study=second, job=pruning)
    job = seed.seed_job(database, name="all done")
    seed.seed_job(database, state="queued", name="to come")
    running = seed.seed_job(database, state="running", done=5, name="half")
    failed = seed.seed_job(database, state="failed", done=6, name="broke", error="out of memory")
    texts = [
        *(seed.seed_job(database, examples=1) for _ in range(2)),
        seed.seed_job(database, state="queued", examples=1),
    ]
    seed_matrix(database, job, 2, 2, 3)
    seed.seed_worker(database, "gpu-1")
    note(database, LOCAL, "SELECT 1")
    query = save(database, LOCAL, "SELECT job_id FROM jobs -- " + "x" * 4000, "Every job")
    return {
        "jobs": "/",
        "steps that need each other": f"/studies/{second}",
        "studies compared": f"/studies/compare?a={first}&b={second}",
        "jobs compared": f"/compare?jobs={steps[0]},{steps[1]},{job}",
        "running": f"/jobs/{running}",
        "failed": f"/jobs/{failed}",
        "pruning": f"/jobs/{pruning}",
        "attack": f"/jobs/{attack}",
        **{f"step {step}": f"/jobs/{step}" for step in steps},
        **{f"form of {kind}": f"/jobs/new?kind={kind}" for kind in ("importance", "pruning")},
        "form of attack": "/jobs/new?kind=attack",
        "asked": "/sql?q=SELECT+*+FROM+head_importance+LIMIT+5",
        "plan": "/sql?q=SELECT+*+FROM+head_scores&plan=1",
        "own_queries.open_link": f"/sql/link/{query.link}",
        "cell": "/sql/cell?q=SELECT+spec+FROM+jobs&cell=0.0",
        "chart": "/sql?q=SELECT+*+FROM+attempts&chart=bars",
        "refused": "/sql?q=SELECT+nothing+FROM+nowhere",
        "jobs.show": f"/jobs/{job}",
        "rankings.compare": f"/jobs/{job}/correlation",
        "lab": f"/lab?jobs={texts[0]},{texts[1]},{texts[2]}&base={texts[0]}",
        "operations.show_worker": "/workers/gpu-1",
        "results.head": f"/jobs/{job}/heads/2/3",
        "a head's matrix": f"/jobs/{job}/heads/2/3?example=2",
        "results.example": f"/jobs/{job}/examples/2",
        "studies.show": f"/studies/{first}",
        "attack.trigger": f"/jobs/{attack}/triggers/0",
        "attack.try_form": f"/attack/try?job={attack}&trigger=0",
        "attack.tried": f"/attack/try/{attack}",
        "nothing": "/jobs/999999",
    }


@pytest.fixture
def every_page(stage: SimpleNamespace, filled: dict[str, str]) -> list[str]:
    """The address of every page, each with something on it."""
    app = new_app(load_settings({}, home=stage.home))
    rules = [
        rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.rule.startswith("/api/")
        and rule.endpoint not in NO_PAGES
    ]
    named = {rule.endpoint for rule in rules if rule.arguments}
    assert named - {"sign_in.welcome"} <= filled.keys()
    return sorted({*filled.values(), *(rule.rule for rule in rules if not rule.arguments)})
