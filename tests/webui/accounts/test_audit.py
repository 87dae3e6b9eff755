"""The audit log: what it has, and who reads it."""

from __future__ import annotations

import json

import pytest

from db.accounts import audit
from db.accounts.audit import AuditFilter, Event
from db.database import Database
from tests.helpers.databases import execute, one
from tests.webui.accounts.people import PASSWORD, Lab, sign_in
from tests.webui.conftest import good_submission


def test_what_people_do_is_written_down(lab: Lab) -> None:
    browser = lab.signed_in("Ada")
    raw = good_submission(lab.stack.home)
    job = browser.post("/api/v1/jobs", json=raw).json()["job"]["id"]
    assert browser.patch(f"/api/v1/jobs/{job}", json={"keep_days": 1}).status_code == 200
    assert browser.post(f"/jobs/{job}/cancel").status_code == 303
    done, other = lab.job("ada"), lab.job("root")
    assert browser.get(f"/jobs/{done}/export/head_scores.csv").status_code == 200
    assert browser.post(f"/jobs/{done}/delete").status_code == 303
    assert browser.post(f"/jobs/{other}/delete").status_code == 403
    assert browser.get("/sql", params={"q": "SELECT 1 AS one"}).status_code == 200
    assert browser.get("/sql.csv", params={"q": "SELECT 2 AS two"}).status_code == 200
    assert browser.get("/sql", params={"q": "SELECT nonsense"}).status_code == 400
    assert browser.post("/api/v1/sql", json={"query": "SELECT 3 AS three"}).status_code == 200
    made = browser.post("/account/tokens", data={"name": "n", "scope": "read"})
    secret = made.text.split('id="secret">')[1].split("<")[0]
    sign_in(lab.browser(), "Ada", "a wrong password")
    browser.post("/sign-out")
    found = audit.list_entries(lab.database, AuditFilter(user="ADA"))
    log = [(entry.action, entry.object, entry.detail) for entry in reversed(found)]
    assert log == [
        ("sign in", "", {"way": "password"}),
        ("submit", f"job {job}", {}),
        ("change job", f"job {job}", {}),
        ("cancel job", f"job {job}", {}),
        ("export", f"job {done}", {"name": "head_scores"}),
        ("delete job", f"job {done}", {}),
        ("delete job", f"job {other}", {"refused": True}),
        ("sql", "", {"sql": "SELECT 1 AS one"}),
        ("sql", "", {"sql": "SELECT 2 AS two", "download": True}),
        ("sql", "", {"sql": "SELECT nonsense"}),
        ("sql", "", {"sql": "SELECT 3 AS three"}),
        ("create token", "token 1", {"name": "n", "scope": "read"}),
        ("wrong sign-in", "", {"reason": "wrong password"}),
        ("sign out", "", {}),
    ]
    assert {entry.address for entry in found} == {"127.0.0.1"}
    everything = json.dumps([entry.detail for entry in found])
    assert secret not in everything
    assert PASSWORD not in everything


def test_administrators_read_it_in_pages_and_by_filters(lab: Lab) -> None:
    for number in range(60):
        event = Event(user="walter", action="sql", detail={"sql": f"SELECT {number} <b>"})
        audit.write(lab.database, event)
    assert lab.signed_in("Vera").get("/audit").status_code == 403
    admin = lab.signed_in("Root")
    page = admin.get("/audit", params={"user": "WALTER", "action": "sql"})
    assert page.status_code == 200
    assert "SELECT 59 &lt;b&gt;" in page.text
    assert "SELECT 9 &lt;b&gt;" not in page.text
    older = page.text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "user=WALTER" in older
    assert "SELECT 9 &lt;b&gt;" in admin.get(older).text
    assert "No entry matches" in admin.get("/audit?user=nobody").text
    assert "walter" not in admin.get("/audit?since=2999-01-01").text
    for query in ("action=nonsense", "since=yesterday", "before=x", "user=" + "x" * 300):
        assert admin.get(f"/audit?{query}").status_code == 400, query
    # Names of url_for's own arguments in a query change no link.
    forged = admin.get("/audit?user=walter&_external=1&_scheme=ftp&_anchor=x").text
    assert "ftp" not in forged


def test_entries_are_kept_as_long_as_the_setting_says(database: Database) -> None:
    for _ in range(2):
        audit.write(database, Event(user="ada", action="sql"))
    execute(database, "UPDATE audit SET at = at - 86400 * 10 WHERE id = 1")
    audit.remove_old(database, 0)
    assert one(database, "SELECT COUNT(*) FROM audit") == 2
    audit.remove_old(database, 9)
    assert one(database, "SELECT COUNT(*) FROM audit") == 1


@pytest.mark.parametrize("sql", ["x" * 5_000, "a\0b", "\u202e"])
def test_long_and_odd_values_are_stored(database: Database, sql: str) -> None:
    audit.write(database, Event(user="ada", action="sql", detail={"sql": sql}))
    (entry,) = audit.list_entries(database, AuditFilter())
    assert entry.detail is not None
    assert len(entry.detail["sql"]) <= audit.LONGEST
