"""The sites and host names that the API answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.database import Database
from jobs.settings import Settings
from tests.helpers.apps import new_app
from tests.webui.api.answers import problems


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9999"},
    ],
)
def test_other_sites_are_refused(
    client: FlaskClient,
    database: Database,
    seeding: SimpleNamespace,
    submission: dict[str, Any],
    headers: dict[str, str],
) -> None:
    job = seeding.seed_job(database)
    problems(client.post("/api/v1/jobs", json=submission, headers=headers), 403)
    problems(client.delete(f"/api/v1/jobs/{job}", headers=headers), 403)
    assert client.post(f"/jobs/{job}/delete", headers=headers).status_code == 403
    assert client.get("/api/v1/jobs").json["total"] == 1
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/check", json=submission, headers=own).status_code == 200


def test_other_host_names_are_refused(empty: SimpleNamespace) -> None:
    assert empty.client.get("/", headers={"Host": "127.0.0.1:8600"}).status_code == 200
    problems(empty.client.get("/api/v1/jobs", headers={"Host": "evil.example"}), 400)


def hosts_answered(settings: Settings, **changes: str) -> set[str]:
    """Those of HOSTS that get an answer with these settings; others get a problem with a remedy."""
    app = new_app(settings.model_copy(update=changes))
    client = app.test_client()
    answered = set()
    for host in HOSTS:
        answer = client.get("/api/v1/jobs", headers={"Host": host})
        if answer.status_code == 200:
            answered.add(host)
        else:
            (problem,) = problems(answer, 400)
            assert (problem["field"], problem["value"]) == ("Host", host)
            assert "HEADWISE_TRUSTED_HOSTS" in problem["remedy"]
    app.extensions["headwise"].database.close()
    return answered


LOCAL = {"127.0.0.1:8600", "localhost", "[::1]:8600"}


HOSTS = {*LOCAL, "heads.example.org", "a.lab.example:8443", "lab.example", "evillab.example"}


def test_names_of_a_proxy_are_answered_when_they_are_trusted(settings: Settings) -> None:
    assert hosts_answered(settings) == LOCAL
    assert hosts_answered(settings, host="::1") == LOCAL
    assert hosts_answered(settings, host="0.0.0.0", auth="none") == LOCAL
    one = hosts_answered(settings, trusted_hosts="heads.example.org")
    assert one == {*LOCAL, "heads.example.org"}
    below = hosts_answered(settings, trusted_hosts=".lab.example", host="0.0.0.0")
    assert below == {*LOCAL, "a.lab.example:8443", "lab.example"}


def test_a_trusted_name_may_act_in_its_own_name(
    settings: Settings, submission: dict[str, Any]
) -> None:
    app = new_app(settings.model_copy(update={"trusted_hosts": "heads.example.org"}))
    own = {"Host": "heads.example.org", "Origin": "https://heads.example.org"}
    answer = app.test_client().post("/api/v1/check", json=submission, headers=own)
    assert answer.status_code == 200
    app.extensions["headwise"].database.close()
