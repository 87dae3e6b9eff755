"""Accounts, tokens and the audit log in the API, against a real dashboard."""

from __future__ import annotations

import httpx2

from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from tests.webui.accounts.people import PASSWORD, Lab


def program_of(lab: Lab, name: str, scope: Scope) -> httpx2.Client:
    """A program with a new token of an account."""
    account = accounts.get(lab.database, name)
    return lab.program(tokens.make(lab.database, account, "test", scope)[1])


def test_a_program_looks_after_people(lab: Lab) -> None:
    admin = program_of(lab, "root", Scope.ADMIN)
    own = admin.get("/api/v1/account").json()
    (token,) = tokens.list_tokens(lab.database, accounts.get(lab.database, "root"))
    rights = {"role": "admin", "scope": "admin", "expires_at": token.expires_at}
    assert own == {"name": "Root", "user": "root", **rights}
    added = admin.post("/api/v1/accounts", json={"name": "Zed", "role": "viewer"})
    assert added.status_code == 201
    number = added.json()["id"]
    assert admin.post("/api/v1/accounts", json={"name": "ZED"}).status_code == 409
    link = admin.post(f"/api/v1/accounts/{number}/link").json()["url"]
    answer = lab.browser().post(link, data={"password": PASSWORD, "again": PASSWORD})
    assert answer.status_code == 303
    changed = admin.patch(f"/api/v1/accounts/{number}", json={"role": "member"})
    assert changed.json()["role"] == "member"
    assert admin.patch(f"/api/v1/accounts/{number}", json={}).status_code == 400
    assert admin.patch(f"/api/v1/accounts/{number}", json={"role": "king"}).status_code == 400
    listed = admin.get("/api/v1/accounts").text
    assert "Zed" in listed
    assert "argon2" not in listed
    root = accounts.get(lab.database, "root").id
    assert admin.delete(f"/api/v1/accounts/{root}").status_code == 409
    assert admin.delete(f"/api/v1/accounts/{number}").json() == {"removed": number}
    log = admin.get("/api/v1/audit", params={"object": "account zed", "limit": 2}).json()
    assert [one["action"] for one in log["entries"]] == ["remove account", "change account"]
    older = admin.get(log["next"]).json()["entries"]
    assert "reset account" in [one["action"] for one in older]
    assert log["entries"][1]["detail"] == {"token": token.id, "role": "member"}


def test_a_program_ends_sessions_and_tokens_of_others(lab: Lab) -> None:
    lab.add("Nia")
    admin, own = program_of(lab, "root", Scope.ADMIN), program_of(lab, "nia", Scope.SUBMIT)
    browsers = [lab.signed_in("Nia") for _ in range(2)]
    number = accounts.get(lab.database, "nia").id
    assert admin.delete(f"/api/v1/accounts/{number}/sessions").json() == {"ended": 2}
    assert {browser.get("/").status_code for browser in browsers} == {303}
    (token,) = admin.get(f"/api/v1/accounts/{number}/tokens").json()["tokens"]
    assert (token["account"], token["scope"]) == ("Nia", "submit")
    root = accounts.get(lab.database, "root").id
    assert admin.delete(f"/api/v1/accounts/{root}/tokens/{token['id']}").status_code == 404
    for path in (f"accounts/{number}/tokens", f"accounts/{root}/tokens"):
        assert own.get(f"/api/v1/{path}").status_code == 403
    gone = admin.delete(f"/api/v1/accounts/{number}/tokens/{token['id']}")
    assert gone.json() == {"removed": token["id"]}
    assert own.get("/api/v1/jobs").status_code == 401


def test_tokens_make_tokens_with_the_scope_admin_only(lab: Lab) -> None:
    member = program_of(lab, "ada", Scope.SUBMIT)
    found = member.get("/api/v1/account").json()
    assert (found["role"], found["scope"]) == ("member", "submit")
    for path in ("/api/v1/tokens", "/api/v1/accounts", "/api/v1/audit"):
        assert member.get(path).status_code == 403, path
    assert member.post("/api/v1/tokens", json={"name": "more"}).status_code == 403
    browser = lab.signed_in("Ada")
    made = browser.post("/api/v1/tokens", json={"name": "n", "scope": "submit", "days": None})
    assert made.status_code == 201
    assert lab.program(made.json()["secret"]).get("/api/v1/jobs").status_code == 200
    assert made.json()["secret"] not in browser.get("/api/v1/tokens").text
    number = made.json()["id"]
    assert browser.delete(f"/api/v1/tokens/{number}").json() == {"removed": number}
    assert lab.program(made.json()["secret"]).get("/api/v1/jobs").status_code == 401
    assert browser.post("/api/v1/tokens", json={"name": "n", "scope": "admin"}).status_code == 400


def test_what_is_made_once_is_logged_once_and_its_secret_is_not_kept(lab: Lab) -> None:
    admin = program_of(lab, "root", Scope.ADMIN)
    account = admin.post("/api/v1/accounts", json={"name": "Zed"}).json()["id"]
    for path, body, secret, action in (
        ("/api/v1/tokens", {"name": "once"}, "secret", "create token"),
        (f"/api/v1/accounts/{account}/link", None, "url", "reset account"),
    ):
        logged = len(lab.log(action))
        headers = {"Idempotency-Key": f"made-{secret}"}
        first, again = (admin.post(path, json=body, headers=headers) for _ in range(2))
        assert first.json()[secret]
        assert again.status_code == first.status_code
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == {**first.json(), secret: None}
        assert len(lab.log(action)) == logged + 1
        kept = lab.stack.rows("SELECT body FROM reply")
        assert not any(first.json()[secret].encode() in bytes(one[0]) for one in kept)
    names = [one["name"] for one in admin.get("/api/v1/tokens").json()["tokens"]]
    assert names.count("once") == 1


def test_accounts_and_tokens_come_in_pages(lab: Lab) -> None:
    admin = program_of(lab, "root", Scope.ADMIN)
    for path, name, key in (
        ("/api/v1/accounts", "accounts", "user"),
        ("/api/v1/tokens", "tokens", "id"),
    ):
        admin.post(path, json={"name": "more"})
        whole = [one[key] for one in admin.get(path).json()[name]]
        assert whole == sorted(whole)
        assert len(whole) >= 2
        found, address = [], f"{path}?limit=1"
        while address:
            page = admin.get(address).json()
            found += [one[key] for one in page[name]]
            address = page["next"]
        assert found == whole
