"""Permissions of viewers, members and administrators, against a real dashboard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask

from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from db.console import own_queries
from db.ops import notifications
from db.queue import recurring
from db.queue.ask import ANYTHING
from jobs.notifications import NewRecipient
from jobs.people import Role
from tests.helpers.apps import new_app
from tests.helpers.databases import execute, sqlite_database
from tests.webui.accounts.people import PASSWORD, Lab, sign_in
from webui.accounts.permissions import RULES, Permission
from webui.kinds import PAGES


def test_every_address_declares_its_permission(app: Flask) -> None:
    declared = RULES | {name: rule for page in PAGES.values() for name, rule in page.rules.items()}
    served = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert served - declared.keys() == set()
    assert declared.keys() - served == set()
    public = {name for name, rule in declared.items() if rule.permission is Permission.PUBLIC}
    assert public == {
        *("assets.serve", "assets.favicon", "ops.healthz", "ops.readyz"),
        *("sign_in.show", "sign_in.enter", "sign_in.leave"),
        *("sign_in.begin_oidc", "sign_in.finish_oidc"),
        *("sign_in.welcome", "sign_in.choose_password"),
    }
    changing = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.methods and rule.methods - {"GET", "HEAD", "OPTIONS"}
    }
    may_read = {name for name in changing if declared[name].permission is Permission.READ}
    assert may_read == {
        *("console.run", "console.cell", "console.download", "tables_api.run_sql"),
        "tables_api.explain_sql",
        *(f"tables_api.run_sql_as_{form}" for form in ("csv", "json", "parquet")),
        "comparison.choose",  # leads to a page
    }


def test_an_address_without_a_permission_answers_nobody(lab: Lab, tmp_path: Path) -> None:
    from jobs.settings import load_settings

    sqlite_database(tmp_path / "headwise.sqlite").close()
    app = new_app(load_settings({}, home=tmp_path))
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    answer = app.test_client().get("/forgotten")
    assert (answer.status_code, "secret" in answer.text) == (403, False)
    app.extensions["headwise"].database.close()


def test_a_viewer_reads_and_changes_nothing(lab: Lab) -> None:
    job = lab.job("vera")  # of her time as a member
    viewer = lab.signed_in("Vera")
    for path in ("/", f"/jobs/{job}", "/sql?q=SELECT+1+AS+one", f"/jobs/{job}/export/jobs.csv"):
        assert viewer.get(path).status_code in (200, 404), path
    assert "SELECT 1 AS one" in viewer.get("/sql?q=SELECT+1+AS+one").text
    page = viewer.get(f"/jobs/{job}").text
    assert "Delete…" not in page
    assert "Clone" not in page
    assert "New job" not in page
    for path in ("/jobs/new", "/studies/new", "/attack/try"):
        refused = viewer.get(path)
        assert refused.status_code == 403, path
        assert "An administrator can make you a member" in refused.text
    for method, path in (
        *(("POST", f"/jobs/{job}/{action}") for action in ("delete", "purge", "pause", "change")),
        *(("POST", path) for path in ("/jobs/new", "/lab", "/studies/new", "/jobs/new/check")),
        *(("POST", f"/api/v1/{path}") for path in ("jobs", "check", "studies", "uploads")),
        *(("DELETE", f"/api/v1/jobs/{job}"), ("PATCH", f"/api/v1/jobs/{job}")),
        *(("POST", f"/api/v1/jobs/{job}/cancel"), ("POST", "/api/v1/recurring")),
    ):
        assert viewer.request(method, path).status_code == 403, path
    assert lab.stack.rows(f"SELECT state FROM job WHERE id = {job}") == [("succeeded",)]


def test_a_member_changes_their_own_jobs_only(lab: Lab) -> None:
    own, other = lab.job("ada"), lab.job("root")
    member = lab.signed_in("Ada")
    assert "Delete…" in member.get(f"/jobs/{own}").text
    assert "Delete…" not in member.get(f"/jobs/{other}").text
    for path in (f"/jobs/{other}/delete", f"/api/v1/jobs/{other}/purge"):
        refused = member.post(path)
        assert refused.status_code == 403
        assert f"Job {other} belongs to root" in refused.text
    assert member.delete(f"/api/v1/jobs/{other}").status_code == 403
    assert member.patch(f"/api/v1/jobs/{other}", json={"keep_days": 1}).status_code == 403
    assert member.patch(f"/api/v1/jobs/{own}", json={"keep_days": 1}).status_code == 200
    assert member.delete(f"/api/v1/jobs/{own}").status_code == 200
    mine, theirs = lab.job("ada", "queued"), lab.job("root", "queued")
    page = member.post(
        "/jobs/actions", data={"action": "priority", "priority": "-5", "job": [mine, theirs]}
    ).text
    assert f"Job {theirs} is not yours: it belongs to root." in page
    assert f"Job {mine} has priority -5." in page
    page = member.get("/?mine=1").text
    assert f'href="/jobs/{mine}"' in page
    assert f'href="/jobs/{theirs}"' not in page
    assert member.get("/api/v1/jobs?mine=true").json()["facets"]["user"].keys() >= {"ada", "root"}
    assert member.get("/accounts").status_code == 403
    assert member.post("/accounts", data={"name": "x", "role": "admin"}).status_code == 403


def test_studies_and_recurring_jobs_have_owners_too(lab: Lab) -> None:
    number = lab.recurring("root")
    execute(lab.database, "INSERT INTO study (name, user_name, created_at) VALUES ('s', 'root', 0)")
    ((study,),) = lab.stack.rows("SELECT MAX(id) FROM study")
    member = lab.signed_in("Ada")
    for path in (
        *(f"/recurring/{number}/remove", f"/api/v1/recurring/{number}/pause"),
        *(f"/studies/{study}/cancel", f"/api/v1/studies/{study}/restart"),
    ):
        refused = member.post(path)
        assert (refused.status_code, "belongs to root" in refused.text) == (403, True), path
    assert member.delete(f"/api/v1/recurring/{number}").status_code == 403
    assert lab.signed_in("Root").delete(f"/api/v1/recurring/{number}").status_code == 200


def test_an_administrator_changes_everything_and_a_role_holds_at_once(lab: Lab) -> None:
    job, more = lab.job("root"), lab.job("root")
    lab.add("Max")
    member, admin = lab.signed_in("Max"), lab.signed_in("Root")
    assert member.post(f"/jobs/{job}/delete").status_code == 403
    number = accounts.get(lab.database, "max").id
    assert admin.post(f"/accounts/{number}/role", data={"role": "admin"}).status_code == 303
    assert member.post(f"/jobs/{job}/delete").status_code == 303
    assert admin.post(f"/accounts/{number}/role", data={"role": "viewer"}).status_code == 303
    assert member.post(f"/jobs/{more}/delete").status_code == 403
    assert admin.post(f"/accounts/{number}/disable").status_code == 303
    assert member.get("/").status_code == 303
    assert sign_in(lab.browser(), "Max", PASSWORD).status_code == 403
    assert admin.post(f"/accounts/{number}/enable").status_code == 303
    assert sign_in(lab.browser(), "Max", PASSWORD).status_code == 303


def test_the_page_of_accounts_adds_people_by_a_link(lab: Lab) -> None:
    admin = lab.signed_in("Root")
    page = admin.post("/accounts", data={"name": "Zoe", "role": "viewer"}).text
    link = page.split('id="link">')[1].split("<")[0]
    assert link.startswith(f"{lab.address}/welcome/")
    visitor = lab.browser()
    answer = visitor.post(link, data={"password": PASSWORD, "again": PASSWORD})
    assert answer.status_code == 303
    assert visitor.get("/jobs/new").status_code == 403  # a viewer
    twice = admin.post("/accounts", data={"name": "ZO\u200bE", "role": "viewer"})
    assert twice.status_code == 400
    assert "invisible characters" in twice.text
    again = admin.post("/accounts", data={"name": "zoe", "role": "viewer"})
    assert (again.status_code, "There is an account" in again.text) == (400, True)
    nothing = admin.post("/accounts", data={"name": "x", "role": "king"})
    assert (nothing.status_code, "is not a role" in nothing.text) == (400, True)


def test_administrators_end_the_sessions_of_others_and_revoke_their_tokens(lab: Lab) -> None:
    ivo = lab.add("Ivo")
    lab.add("Head", "admin")
    admin = lab.signed_in("Head")
    number, secret = tokens.make(lab.database, ivo, "notebook", Scope.READ)
    at_work = lab.signed_in("Ivo")
    assert admin.post(f"/accounts/{ivo.id}/sign-out").status_code == 303
    assert at_work.get("/").status_code == 303
    assert lab.program(secret).get("/api/v1/jobs").status_code == 200

    page = admin.get("/accounts").text
    assert 'aria-label="Revoke notebook of Ivo"' in page
    assert secret not in page
    assert lab.signed_in("Ada").post(f"/accounts/tokens/{number}/revoke").status_code == 403
    assert admin.post(f"/accounts/tokens/{number}/revoke").status_code == 303
    assert lab.program(secret).get("/api/v1/jobs").status_code == 401
    assert admin.post(f"/accounts/tokens/{number}/revoke").status_code == 404
    ends = ("head", f"token {number}", json.dumps({"of": "ivo", "number": number}))
    assert ends in lab.log("revoke token")

    at_work = lab.signed_in("Ivo")
    assert "one-time" not in at_work.get("/").text
    assert admin.post(f"/accounts/{ivo.id}/reset").status_code == 200
    assert at_work.get("/").status_code == 303  # whoever was in with the old password


def test_what_was_a_persons_alone_goes_with_their_account(lab: Lab) -> None:
    gone = lab.add("Gone")
    new = NewRecipient(name="mine", address="json://192.0.2.1/hook")
    notifications.add(lab.database, new, "gone", "webhook", "json://192.0.2.1")
    own_queries.save(lab.database, "gone", "SELECT 1 AS one", "a secret of mine")
    accounts.remove(lab.database, gone)
    lab.add("Gone")  # another person of this name
    namesake = lab.signed_in("Gone")
    assert "a secret of mine" not in namesake.get("/sql/queries").text
    assert namesake.get("/api/v1/recipients").json()["recipients"] == []


def test_the_last_administrator_stays(lab: Lab) -> None:
    admin = lab.signed_in("Root")
    others = [a for a in accounts.list_accounts(lab.database) if a.folded != "root"]
    for other in others:
        accounts.set_role(lab.database, other, Role.MEMBER)
    number = accounts.get(lab.database, "root").id
    for action, form in (("remove", {}), ("disable", {}), ("role", {"role": "viewer"})):
        refused = admin.post(f"/accounts/{number}/{action}", data=form)
        assert refused.status_code == 409, action
        assert "Root is the last administrator" in refused.text
    assert accounts.get(lab.database, "root").role is Role.ADMIN
    # Somebody without a way in is none.
    accounts.add(lab.database, "Ghost", Role.ADMIN)
    assert admin.post(f"/accounts/{number}/remove").status_code == 409
    lab.add("Second", "admin")
    assert admin.post(f"/accounts/{number}/remove").status_code == 303
    assert admin.get("/").status_code == 303
    lab.add("Root", "admin")


def test_jobs_of_somebody_who_was_removed_go_on(lab: Lab) -> None:
    lab.add("Leaver")
    browser = lab.signed_in("Leaver")
    job = lab.job("leaver", state="running")
    lab.add("Boss", "admin")
    accounts.remove(lab.database, accounts.get(lab.database, "leaver"))
    assert browser.get("/").status_code == 303
    assert lab.stack.rows(f"SELECT state, control FROM job WHERE id = {job}") == [
        ("running", "run")
    ]
    assert lab.signed_in("Ada").post(f"/jobs/{job}/cancel").status_code == 403
    assert lab.signed_in("Boss").post(f"/jobs/{job}/cancel").status_code == 303
    assert ANYTHING.user_limit == 0


@pytest.mark.parametrize(("action", "done"), [("remove", "removed"), ("disable", "disabled")])
def test_recurring_jobs_of_somebody_who_may_not_come_in_are_paused(
    lab: Lab, action: str, done: str
) -> None:
    account = lab.add(f"To be {done}")
    mine, other = lab.recurring(account.folded), lab.recurring("ada")
    admin = lab.signed_in("Root")
    assert admin.post(f"/accounts/{account.id}/{action}").status_code == 303
    found = {one.id: (one.paused, one.next_at, one.error) for one in recurring.find(lab.database)}
    reason = f"the account To be {done} was {done}"
    assert found[mine] == (True, None, reason)
    assert found[other] == (False, 4e9, None)
    assert reason in admin.get("/recurring").text
    (_, what, detail) = lab.log(f"{action} account")[-1]
    assert what == f"account {account.folded}"
    assert json.loads(detail) == {"paused_recurring": [mine]}
    assert admin.post(f"/recurring/{mine}/resume").status_code == 303
    again = recurring.get(lab.database, mine)
    assert (again.paused, again.error) == (False, None)


def test_jobs_are_submitted_in_ones_own_name(lab: Lab) -> None:
    from tests.webui.conftest import good_submission

    raw = good_submission(lab.stack.home)
    lab.add("Chair", "admin")
    member, admin = lab.signed_in("Ada"), lab.signed_in("Chair")
    other = member.post("/api/v1/jobs", json={**raw, "user": "chair"})
    assert other.status_code == 400
    assert other.json()["problems"][0]["field"] == "user"
    first = member.post("/api/v1/jobs", json={**raw, "user": "A\u200bDA"})
    assert first.status_code == 201, first.text
    assert first.json()["job"]["user"] == "ada"
    assert member.post("/api/v1/jobs", json=raw).json()["job"]["id"] == first.json()["job"]["id"]
    for_her = admin.post("/api/v1/check", json={**raw, "user": "ADA"}).json()
    assert for_her["existing_job"] == first.json()["job"]["id"]
    assert ("ada", f"job {first.json()['job']['id']}", "{}") in lab.log("submit")


def test_members_give_priorities_up_to_a_bound(lab: Lab) -> None:
    from tests.webui.conftest import good_submission

    lab.add("Pia"), lab.add("Chief", "admin")
    member, admin = lab.signed_in("Pia"), lab.signed_in("Chief")
    raw = good_submission(lab.stack.home / "priorities")
    too_high = {
        "field": "priority",
        "value": 1,
        "message": "is above 0, the highest that members may give to this job",
        "remedy": "Give -100 to 0, or ask an administrator.",
    }
    recurring = {"cron": "0 0 * * *", "submission": {**raw, "priority": 1}}
    for path, body, field in (
        ("jobs", {**raw, "priority": 1}, "priority"),
        ("check", {**raw, "priority": 1}, "priority"),
        ("studies", {"name": "s", "jobs": {"a": {**raw, "priority": 1}}}, "jobs.a.priority"),
        ("recurring", recurring, "submission.priority"),
    ):
        refused = member.post(f"/api/v1/{path}", json=body)
        assert refused.status_code == 400, path
        assert refused.json()["problems"] == [{**too_high, "field": field}]
    made = member.post("/api/v1/jobs", json={**raw, "priority": -5}).json()["job"]
    job = f"/api/v1/jobs/{made['id']}"
    assert made["priority"] == -5
    refused = member.patch(job, json={"priority": 1})
    assert (refused.status_code, refused.json()["problems"]) == (400, [too_high])
    assert "is above 0" in member.post(f"/jobs/{made['id']}/change", data={"priority": "1"}).text
    assert member.patch(job, json={"priority": 0}).json()["priority"] == 0
    # A priority that an administrator has granted may be kept and lowered, not raised.
    assert admin.patch(job, json={"priority": 60}).json()["priority"] == 60
    assert "Priority, −100 to 60" in member.get(f"/jobs/{made['id']}").text
    assert member.patch(job, json={"priority": 60}).status_code == 200
    assert "is above 60" in member.patch(job, json={"priority": 61}).text
    assert 'value="0"' in member.get(f"/jobs/new?clone={made['id']}").text
    assert "From −100 to 0;" in member.get("/jobs/new").text
    assert "From −100 to 100;" in admin.get("/jobs/new").text
    assert member.patch(job, json={"priority": 30}).json()["priority"] == 30
    assert member.patch(job, json={"priority": 31}).status_code == 400


def test_a_job_of_one_text_runs_first_for_everybody(lab: Lab) -> None:
    from tests.webui.conftest import good_submission

    lab.add("Tom")
    member = lab.signed_in("Tom")
    model = good_submission(lab.stack.home / "one")["spec"]["model"]["name"]
    text = {"model": model, "text": "A cat sleeps."}
    made = member.post("/api/v1/explain", json=text)
    assert made.status_code == 201, made.text
    assert made.json()["priority"] == 100
    rows = [{"text": "One."}, {"text": "Two."}]
    spec = {"model": {"name": model}, "data": {"inline": True, "text_columns": ["text"]}}
    two = member.post("/api/v1/jobs", json={"spec": spec, "rows": rows, "priority": 100})
    assert (two.status_code, two.json()["problems"][0]["field"]) == (400, "priority")


@pytest.mark.parametrize("path", ["/account", "/accounts"])
def test_without_sign_in_there_are_no_accounts_of_ones_own(tmp_path: Path, path: str) -> None:
    from jobs.settings import load_settings

    sqlite_database(tmp_path / "headwise.sqlite").close()
    app = new_app(load_settings({}, home=tmp_path))
    client = app.test_client()
    assert client.get("/").status_code == 200
    assert client.get("/sign-in").headers["Location"] == "/"
    assert client.get("/account").status_code == 404
    assert "HEADWISE_AUTH" in client.get("/account").text
    app.extensions["headwise"].database.close()
