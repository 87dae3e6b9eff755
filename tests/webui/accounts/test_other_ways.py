"""Sign-in by an identity provider, a real one in a process of its own, and by a proxy's header."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from werkzeug.http import dump_cookie, parse_cookie

from db.accounts import accounts
from db.accounts.secret import hashed
from jobs.errors import InputError
from jobs.people import Role
from jobs.settings import load_settings
from tests.helpers.databases import execute
from tests.helpers.identity_provider import CLIENT, FAULTS, SECRET, SKEWS
from tests.helpers.ports import free_port
from tests.helpers.services import await_port
from tests.webui.accounts.people import PASSWORD, Lab, open_lab, sign_in

ROLES = "headwise-admins=admin,lab=member"


@contextmanager
def provider(port: int = 0) -> Iterator[str]:
    """A provider's address until the end of the block."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.helpers.identity_provider", str(port)]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider() as address:
        yield address


def with_provider(address: str, **settings: Any) -> dict[str, Any]:
    """Settings of a dashboard that knows the provider."""
    client = {"oidc_client_id": CLIENT, "oidc_client_secret": SECRET}
    return {"auth": "password,oidc", "oidc_issuer": address, **client, **settings}


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, issuer: str, stored: dict[str, str]
) -> Iterator[Lab]:
    settings = with_provider(issuer, oidc_roles=ROLES, **stored)
    with open_lab(tmp_path_factory.mktemp("lab"), **settings) as lab:
        lab.add("Root", "admin")
        yield lab


def come(browser: httpx2.Client, subject: str, path: str = "/sign-in/oidc") -> httpx2.Response:
    """Go through the provider as somebody; returns what the dashboard answers in the end."""
    return browser.get(answer_of(browser, subject, path))


def answer_of(browser: httpx2.Client, subject: str, path: str = "/sign-in/oidc") -> str:
    """The address that the provider leads the browser back to."""
    there = browser.get(path)
    assert there.status_code == 303, there.text
    plain = httpx2.post(there.headers["Location"], data={"sub": subject}, trust_env=False)
    assert plain.status_code == 302, plain.text
    return str(plain.headers["Location"])


def test_groups_give_roles_at_every_sign_in(lab: Lab) -> None:
    browser = lab.browser()
    page = browser.get("/sign-in?next=/studies").text
    assert "Sign in with your organisation" in page
    asked = urlsplit(browser.get("/sign-in/oidc").headers["Location"])
    query = parse_qs(asked.query)
    assert query["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= query.keys()
    assert query["redirect_uri"] == [f"{lab.address}/sign-in/oidc/callback"]
    answer = come(browser, "1001", "/sign-in/oidc?next=/studies")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/studies")
    assert ">Ada</a>" in browser.get("/").text
    account = accounts.get(lab.database, "ada")
    assert account.role is Role.MEMBER
    accounts.set_role(lab.database, account, Role.ADMIN)
    come(lab.browser(), "1001")
    assert accounts.get(lab.database, "ada").role is Role.MEMBER
    come(lab.browser(), "1002")
    assert accounts.get(lab.database, "grace").role is Role.ADMIN
    refused = come(lab.browser(), "1003")
    assert (refused.status_code, "None of your groups" in refused.text) == (403, True)
    assert accounts.find(lab.database, "mallory") is None
    assert ("", "", json.dumps({"way": "oidc", "reason": "None of your groups has access. Ask an "
                                "administrator."})) in lab.log("wrong sign-in")  # fmt: skip


def test_what_the_provider_changes_is_in_the_audit_log(lab: Lab) -> None:
    come(lab.browser(), "1005")
    assert ("kay", "account kay", json.dumps({"way": "oidc", "role": "member"})) in lab.log(
        "add account"
    )
    accounts.set_role(lab.database, accounts.get(lab.database, "kay"), Role.VIEWER)
    for _ in range(2):  # the second time there is nothing to change
        come(lab.browser(), "1005")
    changes = [entry for entry in lab.log("role account") if entry[0] == "kay"]
    assert changes == [("kay", "account kay", json.dumps({"way": "oidc", "role": "member"}))]


def test_a_name_at_the_provider_takes_over_nobody(lab: Lab) -> None:
    come(lab.browser(), "1001")
    lab.job("grace-hopper")
    come(lab.browser(), "1004")  # another person, who is called ADA
    found = {one.name for one in accounts.list_accounts(lab.database)}
    assert {"Ada", "ADA-2"} <= found
    own = accounts.find_identity(lab.database, lab.stack.settings.oidc_issuer, "1004")
    assert own is not None
    assert own.name == "ADA-2"
    names = ["\u200b", "Grace-Hopper"]  # jobs of that name are somebody else's
    other = accounts.add_identity(lab.database, "elsewhere", "1", names, Role.VIEWER)
    assert other.name == "Grace-Hopper-2"
    execute(
        lab.database,
        "INSERT INTO study (name, user_name, created_at) VALUES ('s', 'mary', 0)",
    )
    other = accounts.add_identity(lab.database, "elsewhere", "2", ["Mary"], Role.VIEWER)
    assert other.name == "Mary-2"


def link(browser: httpx2.Client, subject: str) -> httpx2.Response:
    """Link an identity from the account's page; returns what the dashboard answers in the end."""
    return browser.get(linking_answer_of(browser, subject))


def linking_answer_of(browser: httpx2.Client, subject: str) -> str:
    page = browser.post("/account/identity")
    assert page.status_code == 200, page.text
    there = unescape(page.text.split('id="provider" href="')[1].split('"')[0])
    answer = httpx2.post(there, data={"sub": subject}, trust_env=False)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["Location"])


def test_somebody_links_their_account_and_an_administrator_unlinks_it(lab: Lab) -> None:
    zoe = lab.add("Zoe", "viewer")
    browser = lab.signed_in("Zoe")
    assert "Link it" in browser.get("/account").text
    answer = link(browser, "2001")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account?done=linked")
    shown = browser.get("/account?done=linked").text
    assert "account is linked: you can sign in with it" in shown
    assert link(browser, "2001").status_code == 303  # linked before
    assert ("zoe", "account zoe", json.dumps({"way": "oidc"})) in lab.log("link identity")
    assert accounts.get(lab.database, "zoe").role is Role.VIEWER
    other = lab.browser()
    assert come(other, "2001").status_code == 303
    assert ">Zoe</a>" in other.get("/").text
    assert accounts.get(lab.database, "zoe").role is Role.MEMBER  # of the groups

    root = lab.signed_in("Root")
    assert "Unlink Zoe…" in root.get("/accounts").text
    assert browser.post(f"/accounts/{zoe.id}/unlink").status_code == 403
    assert root.post(f"/accounts/{zoe.id}/unlink").status_code == 303
    assert ("root", "account zoe", "{}") in lab.log("unlink account")
    assert other.get("/").status_code == 303  # it came from the provider
    assert browser.get("/").status_code == 200  # it came with a password
    assert root.post(f"/accounts/{zoe.id}/unlink").status_code == 409
    come(lab.browser(), "2001")
    second = accounts.get(lab.database, "zoe-2")
    listed = root.get("/api/v1/accounts").json()["accounts"]
    assert {one["name"]: one["has_identity"] for one in listed if "oe" in one["name"]} == {
        "Zoe": False,
        "Zoe-2": True,
    }
    address = f"/api/v1/accounts/{second.id}/identities"
    assert root.delete(address).json()["has_identity"] is False
    assert root.delete(address).status_code == 409


def test_an_identity_of_another_account_is_refused(lab: Lab) -> None:
    come(lab.browser(), "1002")
    lab.add("Eve")
    browser = lab.signed_in("Eve")
    answer = link(browser, "1002")
    assert (answer.status_code, "Another account has this identity" in answer.text) == (409, True)
    found = accounts.find_identity(lab.database, lab.stack.settings.oidc_issuer, "1002")
    assert found is not None
    assert found.folded == "grace"
    assert any('"refused": true' in detail for _, _, detail in lab.log("link identity"))
    refused = link(browser, "1003")
    assert (refused.status_code, "None of your groups" in refused.text) == (403, True)
    assert browser.get("/").status_code == 200


def test_an_address_of_mail_links_nothing(lab: Lab) -> None:
    lab.add("ivy@example.org")
    stranger = lab.browser()
    assert come(stranger, "2002").status_code == 303  # whose verified address this is
    assert ">ivy@example.org-2</a>" in stranger.get("/").text


def test_a_link_is_taken_in_the_session_that_began_it(lab: Lab) -> None:
    lab.add("Ann")
    lab.add("Bob")
    browser = lab.signed_in("Ann")
    there = linking_answer_of(browser, "2003")
    other = lab.signed_in("Bob")
    assert other.get(there).status_code == 403  # it has no errand
    sign_in(browser, "Bob", PASSWORD)  # somebody else in the same browser
    assert browser.get(there).status_code == 403
    there = linking_answer_of(browser, "2003")
    browser.post("/sign-out")
    assert browser.get(there).status_code == 403
    assert accounts.find_identity(lab.database, lab.stack.settings.oidc_issuer, "2003") is None
    foreign = {"Origin": "https://evil.example"}
    assert other.post("/account/identity", headers=foreign).status_code == 403
    token = lab.signed_in("Ann").post(
        "/account/tokens", data={"name": "t", "scope": "submit", "days": "1"}
    )
    secret = token.text.split('id="secret">')[1].split("<")[0]
    assert lab.program(secret).post("/account/identity").status_code == 403


def test_a_cookie_that_another_host_has_set_links_nothing(lab: Lab) -> None:
    """A sibling host name without TLS sets cookies here, and knows its own errand."""
    victim = lab.add("Una")
    browser, attacker = lab.signed_in("Una"), lab.browser()
    there = answer_of(attacker, "2004")
    name = "headwise-sign-in"
    errand = json.loads(parse_cookie(f"{name}={attacker.cookies[name]}")[name])
    for session in (hashed(errand["state"]), str(victim.id), "x", "é", 5, None):
        planted = {**errand, "session": session}
        cookie = dump_cookie(name, json.dumps(planted)).partition("; Path")[0].partition("=")[2]
        browser.cookies.set(name, cookie, domain="127.0.0.1", path="/")
        assert browser.get(there).status_code == 403, session
    assert accounts.find_identity(lab.database, lab.stack.settings.oidc_issuer, "2004") is None


def test_a_disabled_account_is_refused(lab: Lab) -> None:
    come(lab.browser(), "1001")
    account = accounts.get(lab.database, "ada")
    accounts.set_disabled(lab.database, account, True)
    assert come(lab.browser(), "1001").status_code == 403
    accounts.set_disabled(lab.database, account, False)
    assert come(lab.browser(), "1001").status_code == 303


def test_an_answer_counts_once_and_in_the_browser_that_asked(lab: Lab) -> None:
    browser = lab.browser()
    there = answer_of(browser, "1001")
    other = lab.browser()
    assert other.get(there).status_code == 403  # another browser: no cookie
    other.get("/sign-in/oidc")
    assert other.get(there).status_code == 403  # one that has begun another sign-in
    assert other.get("/").status_code == 303
    assert browser.get(there).status_code == 303
    assert browser.get("/").status_code == 200
    assert browser.get(there).status_code == 403  # the cookie is gone
    stale = lab.browser()
    state = parse_qs(urlsplit(stale.get("/sign-in/oidc").headers["Location"]).query)["state"][0]
    code = parse_qs(urlsplit(there).query)["code"][0]
    used = stale.get("/sign-in/oidc/callback", params={"state": state, "code": code})
    assert (used.status_code, "did not accept the code" in used.text) == (403, True)
    mixed = {"state": state, "code": code, "iss": "https://another.example"}
    assert stale.get("/sign-in/oidc/callback", params=mixed).status_code == 403
    denied = {"state": state, "error": "access_denied"}
    answer = stale.get("/sign-in/oidc/callback", params=denied)
    assert (answer.status_code, "access_denied" in answer.text) == (403, True)
    assert stale.get("/sign-in/oidc/callback").status_code == 403


@pytest.mark.parametrize("fault", FAULTS)
def test_id_tokens_that_do_not_fit_are_refused(lab: Lab, fault: str) -> None:
    before = accounts.list_accounts(lab.database)
    browser = lab.browser()
    answer = come(browser, fault)
    assert answer.status_code == 403
    assert "The ID token is not valid" in answer.text
    assert browser.get("/").status_code == 303
    assert accounts.list_accounts(lab.database) == before


@pytest.mark.parametrize("skew", SKEWS)
def test_clocks_may_differ_by_a_minute(lab: Lab, skew: str) -> None:
    assert come(lab.browser(), skew).status_code == 303
    assert accounts.get(lab.database, f"of {skew}").role is Role.MEMBER


def test_new_keys_of_the_provider_are_fetched_and_its_absence_is_told(tmp_path: Path) -> None:
    port = free_port()
    with open_lab(tmp_path, **with_provider(f"http://127.0.0.1:{port}")) as lab:
        assert lab.browser().get("/sign-in/oidc").status_code == 503
        with provider(port=port):
            assert come(lab.browser(), "1001").status_code == 303
        with provider(port=port):  # it has new keys
            assert come(lab.browser(), "1001").status_code == 303
            browser = lab.browser()
            there = answer_of(browser, "1001")
        away = browser.get(there)
        assert (away.status_code, "does not answer" in away.text) == (503, True)
        assert "Identity provider unavailable" in away.text
        lab.close_clients()


def test_a_proxy_names_people_and_nobody_else_does(tmp_path: Path) -> None:
    settings = {"auth": "password,proxy", "trusted_proxies": "127.0.0.1", "new_role": "member"}
    with open_lab(tmp_path, **settings) as lab:
        lab.add("Root", "admin")
        ada = lab.browser(**{"X-Remote-User": "Ada"})
        assert ">Ada</a>" in ada.get("/").text
        job = lab.job("ada")
        assert ada.post(f"/jobs/{job}/delete").status_code == 303
        foreign = {"Origin": "https://evil.example"}
        assert ada.post(f"/jobs/{lab.job('ada')}/delete", headers=foreign).status_code == 403
        assert ada.get("/account").status_code == 200
        assert lab.browser(**{"X-Remote-User": "ADA"}).get("/").status_code == 200
        header = {"X-Remote-User": "Zoë".encode()}
        assert ">Zoë</a>" in lab.browser().get("/", headers=header).text
        assert [one.name for one in accounts.list_accounts(lab.database)] == ["Ada", "Root", "Zoë"]
        assert [user for user, _, detail in lab.log("sign in") if "proxy" in detail] == [
            *("ada", "zoë"),
        ]
        assert lab.browser(**{"X-Remote-User": ""}).get("/").status_code == 303
        added = {"way": "proxy", "role": "member"}
        assert ("ada", "account ada", json.dumps(added)) in lab.log("add account")
        accounts.set_disabled(lab.database, accounts.get(lab.database, "ada"), True)
        assert ada.get("/").status_code == 403
        lab.close_clients()
    folder = tmp_path / "other"
    settings["trusted_proxies"] = "192.0.2.1"
    with open_lab(folder, **settings) as lab:
        lab.add("Root", "admin")
        forged = lab.browser(**{"X-Remote-User": "Root"})
        assert forged.get("/").status_code == 303
        assert sign_in(forged, "root", PASSWORD).status_code == 303
        lab.close_clients()


def test_the_last_administrator_who_comes_by_a_proxy_stays(tmp_path: Path) -> None:
    settings = {"auth": "proxy", "trusted_proxies": "127.0.0.1"}
    with open_lab(tmp_path, **settings) as lab:
        chief = accounts.add(lab.database, "Chief", Role.ADMIN)
        browser = lab.browser(**{"X-Remote-User": "chief"})
        assert browser.get("/accounts").status_code == 200
        for action, form in (("remove", {}), ("disable", {}), ("role", {"role": "viewer"})):
            refused = browser.post(f"/accounts/{chief.id}/{action}", data=form)
            assert (refused.status_code, "last administrator" in refused.text) == (409, True)
        assert browser.get("/accounts").status_code == 200
        second = lab.browser(**{"X-Remote-User": "Deputy"})
        assert second.get("/").status_code == 200
        deputy = accounts.get(lab.database, "deputy")
        form = {"role": "admin"}
        assert browser.post(f"/accounts/{deputy.id}/role", data=form).status_code == 303
        assert second.post(f"/accounts/{chief.id}/remove").status_code == 303
        # Nobody has a password here, so no link for one is made.
        added = second.post("/accounts", data={"name": "Zed", "role": "viewer"})
        assert (added.status_code, added.headers["Location"]) == (303, "/accounts")
        zed = accounts.get(lab.database, "zed").id
        assert second.post(f"/accounts/{zed}/reset").status_code == 404
        assert second.get("/accounts").status_code == 200
        lab.close_clients()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AUTH": "oidc"}, "HEADWISE_OIDC_ISSUER: is required"),
        ({"AUTH": "oidc", "OIDC_ISSUER": "https://x.example"}, "HEADWISE_OIDC_CLIENT_ID"),
        ({"AUTH": "proxy"}, "HEADWISE_TRUSTED_PROXIES: is required"),
        ({"OIDC_ISSUER": "http://login.example"}, "must start with https://"),
        ({"OIDC_ROLES": "lab:member"}, "'lab:member' is not GROUP=ROLE"),
        ({"OIDC_ROLES": "lab=king"}, "'lab=king' is not GROUP=ROLE"),
        ({"TRUSTED_PROXIES": "10.0.0.0/33"}, "is not an address or network"),
        ({"NEW_ROLE": "admin"}, "HEADWISE_NEW_ROLE"),
    ],
)
def test_settings_that_let_nobody_in_are_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        load_settings({f"HEADWISE_{k}": v for k, v in settings.items()}).check_sign_in()


def test_the_highest_role_of_the_groups_holds() -> None:
    settings = load_settings({}, oidc_roles="a=viewer, b=admin,c d=member,*=viewer")
    assert settings.role_of_groups({"a", "b", "c d"}) is Role.ADMIN
    assert settings.role_of_groups({"c d"}) is Role.MEMBER
    assert settings.role_of_groups(set()) is Role.VIEWER
    assert load_settings({}, oidc_roles="a=viewer").role_of_groups({"b"}) is None
