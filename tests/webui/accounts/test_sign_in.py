"""Signing in and out, against a real dashboard."""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db.accounts import accounts, audit, failures, links
from jobs.people import Role
from tests.helpers.databases import execute
from tests.webui.accounts.people import PASSWORD, Lab, open_lab, sign_in


@pytest.fixture(autouse=True)
def fresh(lab: Lab) -> None:
    """Wrong sign-ins of one test do not lock out the next."""
    execute(lab.database, "DELETE FROM failed_sign_in")


def test_nothing_is_shown_before_somebody_has_signed_in(lab: Lab) -> None:
    lab.job("ada")
    browser = lab.browser()
    for path in ("/", "/jobs/1", "/sql?q=SELECT+1", "/studies", "/workers", "/account"):
        answer = browser.get(path)
        assert (answer.status_code, answer.text.count("of ada")) == (303, 0), path
        assert answer.headers["Location"].startswith("/sign-in")
    assert browser.get("/sql?q=SELECT+1").headers["Location"].endswith("next=/sql?q%3DSELECT%2B1")
    for path in ("/api/v1/jobs", "/api/v1/openapi.json", "/metrics"):
        answer = browser.get(path, headers={"Accept": "*/*"})
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert browser.post("/jobs/1/delete").status_code == 401
    polled = browser.get("/", headers={"Sec-Fetch-Mode": "cors"})
    assert polled.status_code == 401  # a part that renews itself must not show the sign-in page
    assert browser.get("/healthz").json() == {"status": "ok"}
    assert browser.get("/readyz").status_code == 200
    page = browser.get("/sign-in")
    assert page.status_code == 200
    assert "Everyone who signs in can see all" in page.text
    assert "New job" not in page.text


def test_the_password_opens_and_the_name_may_be_written_in_any_way(lab: Lab) -> None:
    for name in ("Ada", "ADA", " a\u200bda "):
        browser = lab.browser()
        answer = sign_in(browser, name, PASSWORD)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        page = browser.get("/")
        assert page.status_code == 200
        assert ">Ada</a>" in page.text
        assert page.headers["Cache-Control"] == "private, no-store"
        secret = browser.cookies["headwise"]
        stored = str(lab.stack.rows("SELECT * FROM session"))
        assert secret not in stored
        assert secret not in page.text


@pytest.mark.parametrize(
    "there",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil"],
)
def test_signing_in_leads_to_no_other_site(lab: Lab, there: str) -> None:
    browser = lab.browser()
    assert sign_in(browser, "Ada", PASSWORD, next=there).headers["Location"] == "/"
    assert sign_in(browser, "Ada", PASSWORD, next="/sql?q=1").headers["Location"] == "/sql?q=1"


def test_wrong_passwords_unknown_names_and_disabled_accounts_get_the_same_answer(lab: Lab) -> None:
    lab.add("Eve")
    accounts.set_disabled(lab.database, accounts.get(lab.database, "eve"), True)
    texts = set()
    for name, password in (("Ada", "wrong password"), ("nobody", PASSWORD), ("Eve", PASSWORD)):
        browser = lab.browser()
        answer = sign_in(browser, name, password)
        assert answer.status_code == 403
        assert not browser.cookies
        texts.add(answer.text.replace(f'value="{name}"', ""))
    assert len(texts) == 1
    reasons = [detail for _, _, detail in lab.log("wrong sign-in")[-3:]]
    assert ["wrong password" in reasons[0], "no such" in reasons[1], "disabled" in reasons[2]] == [
        True,
        True,
        True,
    ]


def test_a_hash_is_compared_for_unknown_names_too(lab: Lab) -> None:
    """No measure of time: what takes it is done in either case."""
    from db.accounts import passwords

    compared = []

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            compared.append(stored)
            return bool(real.verify(stored, password))

    real = passwords._hasher
    passwords._hasher = Counting()  # type: ignore[assignment]
    try:
        passwords._nobodys.cache_clear()
        passwords._hasher.hash = real.hash  # type: ignore[method-assign]
        assert not passwords.matches(None, PASSWORD)
    finally:
        passwords._hasher = real
    assert len(compared) == 1


def test_many_wrong_sign_ins_lock_an_account_for_a_while_and_its_sessions_go_on(lab: Lab) -> None:
    inside = lab.signed_in("Ada")
    browser = lab.browser()
    found = [sign_in(browser, "ADA", f"wrong {n}").status_code for n in range(10)]
    assert set(found) == {403}
    answer = sign_in(browser, "ada", PASSWORD)  # even with the right one
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= failures.WINDOW_SECONDS
    assert inside.get("/").status_code == 200
    assert sign_in(lab.browser(), "Vera", PASSWORD).status_code == 303  # others are not locked out
    execute(lab.database, "UPDATE failed_sign_in SET since = since - 1000")
    assert sign_in(browser, "ada", PASSWORD).status_code == 303
    assert lab.stack.rows("SELECT COUNT(*) FROM failed_sign_in WHERE key LIKE 'account%'") == [(0,)]


def test_hundreds_of_wrong_sign_ins_are_refused_and_cost_little(lab: Lab) -> None:
    """One address is let try thirty times; the rest is refused before a password is looked at."""
    browser = lab.browser()
    before = len(lab.log("wrong sign-in"))
    statuses: dict[int, int] = {}
    for number in range(300):
        status = sign_in(browser, f"name {number}", "a guess of mine").status_code
        statuses[status] = statuses.get(status, 0) + 1
    assert statuses == {403: 30, 429: 270}
    assert len(lab.log("wrong sign-in")) == before + 30
    assert lab.stack.rows("SELECT COUNT(*) FROM failed_sign_in")[0][0] <= 31
    assert sign_in(browser, "Root", PASSWORD).status_code == 429


def test_several_processes_count_wrong_sign_ins_together(lab: Lab) -> None:
    limits = {"address 127.0.0.1": 30}
    for _ in range(29):
        assert failures.claim(lab.database, limits) == 0  # of another process
    browser = lab.browser()
    assert sign_in(browser, "nobody", "a guess of mine").status_code == 403
    assert sign_in(browser, "nobody", "a guess of mine").status_code == 429
    assert 0 < failures.claim(lab.database, limits) <= failures.WINDOW_SECONDS


def test_guesses_that_are_made_at_once_are_counted_like_those_one_after_another(lab: Lab) -> None:
    browsers = [lab.browser() for _ in range(25)]
    with ThreadPoolExecutor(len(browsers)) as pool:
        answers = pool.map(lambda browser: sign_in(browser, "Ada", "a guess of mine"), browsers)
    assert Counter(answer.status_code for answer in answers) == {403: 10, 429: 15}


def test_a_right_password_leaves_the_address_the_tries_that_it_had(lab: Lab) -> None:
    sign_in(lab.browser(), "nobody", "a guess of mine")
    for _ in range(40):  # more than an address may be wrong
        assert sign_in(lab.browser(), "Ada", PASSWORD).status_code == 303
    left = "SELECT failures FROM failed_sign_in WHERE key LIKE 'address%'"
    assert lab.stack.rows(left) == [(1,)]


def test_tries_are_forgotten_once_they_count_no_more(lab: Lab) -> None:
    sign_in(lab.browser(), "nobody", "a guess of mine")
    audit.remove_old(lab.database, 0)
    assert lab.stack.rows("SELECT COUNT(*) FROM failed_sign_in") == [(2,)]
    execute(lab.database, f"UPDATE failed_sign_in SET since = since - {failures.WINDOW_SECONDS}")
    audit.remove_old(lab.database, 0)
    assert lab.stack.rows("SELECT COUNT(*) FROM failed_sign_in") == [(0,)]


def test_a_session_id_that_was_planted_is_never_taken_over(lab: Lab) -> None:
    """Session fixation: the identifier after signing in is new, whatever the browser sent."""
    victim = lab.browser()
    victim.cookies.set("headwise", "planted-by-somebody-else", domain="127.0.0.1", path="/")
    assert sign_in(victim, "Ada", PASSWORD).status_code == 303
    secrets = [c.value for c in victim.cookies.jar if c.name == "headwise"]
    assert "planted-by-somebody-else" not in secrets[-1:]
    attacker = lab.browser()
    attacker.cookies.set("headwise", "planted-by-somebody-else", domain="127.0.0.1", path="/")
    assert attacker.get("/").status_code == 303
    first = lab.signed_in("Ada")
    old = first.cookies["headwise"]
    assert sign_in(first, "Ada", PASSWORD).status_code == 303
    assert first.cookies["headwise"] != old
    again = lab.browser()
    again.cookies.set("headwise", old, domain="127.0.0.1", path="/")
    assert again.get("/").status_code == 303  # the one before has ended


def test_signing_out_ends_the_session_on_the_server(lab: Lab) -> None:
    browser = lab.signed_in("Ada")
    secret = browser.cookies["headwise"]
    answer = browser.post("/sign-out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    copied = lab.browser()
    copied.cookies.set("headwise", secret, domain="127.0.0.1", path="/")
    assert copied.get("/").status_code == 303


def test_sessions_are_listed_and_ended_one_by_one_or_all_at_once(lab: Lab) -> None:
    lab.add("Sam")
    here, there = lab.signed_in("Sam"), lab.browser(**{"User-Agent": "a phone"})
    sign_in(there, "Sam", PASSWORD)
    page = here.get("/account").text
    assert "a phone" in page
    number = re.findall(r"/account/sessions/(\d+)/end", page)
    assert len(number) == 2
    (phone,) = lab.stack.rows("SELECT id FROM session WHERE agent = 'a phone'")
    other = lab.signed_in("Vera")
    assert other.post(f"/account/sessions/{phone[0]}/end").status_code == 404  # not hers
    assert here.post(f"/account/sessions/{phone[0]}/end").status_code == 303
    assert there.get("/").status_code == 303
    assert here.get("/").status_code == 200
    third = lab.signed_in("Sam")
    assert here.post("/account/sign-out-everywhere").status_code == 303
    assert [one.get("/").status_code for one in (here, third)] == [303, 303]


def test_sessions_end_after_their_time_and_after_days_without_use(lab: Lab) -> None:
    for change in ("expires_at = seen_at - 1", "seen_at = seen_at - 8 * 86400"):
        browser = lab.signed_in("Vera")
        assert browser.get("/").status_code == 200
        execute(lab.database, f"UPDATE session SET {change}")
        assert browser.get("/").status_code == 303


def test_a_new_password_ends_the_other_sessions(lab: Lab) -> None:
    lab.add("Pam")
    here, there = lab.signed_in("Pam"), lab.signed_in("Pam")
    new = {"password": "another fine phrase", "again": "another fine phrase"}
    wrong = here.post("/account/password", data={"current": "not it at all", **new})
    assert (wrong.status_code, "the current password is wrong" in wrong.text) == (400, True)
    short = {"current": PASSWORD, "password": "short", "again": "short"}
    assert "12 to 1,000 characters" in here.post("/account/password", data=short).text
    twice = {"current": PASSWORD, "password": "another fine phrase", "again": "and one more"}
    assert "the two passwords do not match" in here.post("/account/password", data=twice).text
    assert there.get("/").status_code == 200
    assert here.post("/account/password", data={"current": PASSWORD, **new}).status_code == 303
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 303
    assert sign_in(lab.browser(), "Pam", PASSWORD).status_code == 403
    assert sign_in(lab.browser(), "Pam", "another fine phrase").status_code == 303


def test_somebody_at_an_open_browser_cannot_guess_the_password(lab: Lab) -> None:
    lab.add("Kim")
    browser = lab.signed_in("Kim")
    new = {"password": "another fine phrase", "again": "another fine phrase"}
    for number in range(10):
        form = {"current": f"guess number {number}", **new}
        assert browser.post("/account/password", data=form).status_code == 400
    refused = browser.post("/account/password", data={"current": PASSWORD, **new})
    assert (refused.status_code, "too many wrong passwords" in refused.text) == (429, True)
    assert 0 < int(refused.headers["Retry-After"]) <= failures.WINDOW_SECONDS
    assert sign_in(lab.browser(), "Kim", PASSWORD).status_code == 303  # it is counted apart
    wrong = json.dumps({"refused": True, "reason": "wrong password"})
    assert lab.log("change password").count(("kim", "", wrong)) == 10


def test_a_one_time_link_works_once(lab: Lab) -> None:
    account = accounts.add(lab.database, "Newcomer", Role.VIEWER)
    replaced, secret = (links.make(lab.database, account) for _ in range(2))
    assert secret not in str(lab.stack.rows("SELECT * FROM link"))
    browser = lab.browser()
    assert browser.get(f"/welcome/{replaced}").status_code == 404
    page = browser.get(f"/welcome/{secret}")
    assert (page.status_code, page.headers["Referrer-Policy"]) == (200, "same-origin")
    bad = {"password": "short", "again": "short"}
    assert browser.post(f"/welcome/{secret}", data=bad).status_code == 400
    good = {"password": PASSWORD, "again": PASSWORD}
    assert browser.post(f"/welcome/{secret}", data=good).status_code == 303
    assert browser.get("/").status_code == 200
    assert lab.browser().post(f"/welcome/{secret}", data=good).status_code == 404
    late = links.make(lab.database, account)
    execute(lab.database, "UPDATE link SET expires_at = expires_at - 3 * 86400")
    assert lab.browser().get(f"/welcome/{late}").status_code == 404


def test_the_first_administrator_is_asked_for_on_the_page(tmp_path: Path) -> None:
    with open_lab(tmp_path, trusted_proxies="127.0.0.1") as lab:
        assert "headwise user add NAME --admin" in lab.browser().get("/sign-in").text
        lab.add("Root", "admin")
        assert "headwise user add" not in lab.browser().get("/sign-in").text


def test_behind_a_trusted_proxy_with_tls_the_cookie_is_secure(tmp_path: Path) -> None:
    with open_lab(tmp_path, trusted_proxies="127.0.0.0/8", trusted_hosts="lab.example") as lab:
        lab.add("Root", "admin")
        behind = {
            **{"Host": "lab.example", "Origin": "https://lab.example"},
            **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "6.6.6.6, 192.0.2.9"},
        }
        browser = lab.browser(**behind)
        answer = sign_in(browser, "root", PASSWORD)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-headwise=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        # The last address is the proxy's word; those before it are the client's own.
        assert lab.stack.rows("SELECT address FROM session") == [("192.0.2.9",)]
        secret = cookie.split(";")[0]
        assert lab.browser(**behind, Cookie=secret).get("/").status_code == 200
        # A cookie that a sibling host name has set for all of its domain has not this name.
        tossed = secret.removeprefix("__Host-")
        assert lab.browser(**behind, Cookie=tossed).get("/").status_code == 303
        plain = {**behind, "Origin": "http://lab.example", "Cookie": secret}
        assert lab.browser(**plain).post("/sign-out").status_code == 403


def test_headers_of_a_proxy_that_is_not_trusted_are_not_believed(lab: Lab) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = sign_in(lab.browser(**forged), "Ada", PASSWORD)
    assert "Secure" not in answer.headers["Set-Cookie"]
    newest = "SELECT address FROM session ORDER BY id DESC LIMIT 1"
    assert lab.stack.rows(newest) == [("127.0.0.1",)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.127.0.0.1"}, 403),  # a sibling host name: same-site for cookies
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": ""}, 403),  # a browser that does not say where it comes from
        ({}, 303),
    ],
)
def test_other_sites_do_not_act_as_the_person_who_is_signed_in(
    lab: Lab, headers: dict[str, str], status: int
) -> None:
    browser = lab.signed_in("Ada")
    job = lab.job("ada")
    if headers.get("Origin") == "":
        del browser.headers["Origin"]
        headers = {}
    assert browser.post(f"/jobs/{job}/delete", headers=headers).status_code == status
    left = lab.stack.rows(f"SELECT COUNT(*) FROM job WHERE id = {job} AND state = 'succeeded'")
    assert left == [(0 if status == 303 else 1,)]


def test_signing_somebody_in_from_another_site_is_refused(lab: Lab) -> None:
    """Login CSRF: a page that signs its reader in as the attacker."""
    browser = lab.browser(Origin="https://evil.example")
    assert sign_in(browser, "Ada", PASSWORD).status_code == 403
    assert not browser.cookies
