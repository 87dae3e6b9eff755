"""The list without any job: three ways to begin, and the demo with one click."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from flask.testing import FlaskClient

from db.database import Database
from db.reads import jobs as job_reads
from demo.model import PACKAGE
from jobs.settings import Settings
from scheduler.submission import demo


def has_encoder() -> bool:
    """True where the package with the demo's encoder is installed."""
    try:
        return bool(metadata.distribution(PACKAGE))
    except metadata.PackageNotFoundError:
        return False


def test_three_ways_to_begin(client: FlaskClient) -> None:
    page = client.get("/").text
    assert 'action="/demo"' in page
    for way in ("/jobs/new", "/jobs/new?source=hub", "/lab"):
        assert f'href="{way}"' in page
    (picture,) = re.findall(r'src="([^"]*first-visit[^"]*)"', page)
    shown = client.get(picture)
    assert (shown.status_code, shown.mimetype) == (200, "image/svg+xml")
    form = client.get("/jobs/new?source=hub").text
    assert re.search(r'id="source-hub" checked', form)
    assert client.get("/jobs/new?source=moon").status_code == 400


@pytest.mark.skipif(not has_encoder(), reason=f"{PACKAGE} is not installed")
def test_the_demo_with_one_click(
    client: FlaskClient, database: Database, settings: Settings
) -> None:
    answer = client.post("/demo")
    assert (answer.status_code, answer.location) == (303, "/jobs/1")
    job = job_reads.get_job(database, 1)
    assert (job.name, job.examples) == ("demo", 288)
    assert job.spec["model"]["name"] == str(settings.home / "models/demo-nli")
    # A second click finds it under way.
    assert client.post("/demo").location == "/jobs/1"
    assert "Three ways to begin" not in client.get("/").text


def test_an_installation_without_the_demo_says_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _name: None)
    page = client.get("/").text
    assert 'action="/demo"' not in page
    assert "make demo" in page
    answer = client.post("/demo")
    assert answer.status_code == 503
    assert "not bundled with this installation" in answer.text
