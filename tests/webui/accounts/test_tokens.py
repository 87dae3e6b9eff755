"""Programs with tokens, against a real dashboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from tests.helpers.databases import execute
from tests.webui.accounts.people import PASSWORD, Lab, open_lab, sign_in


def token(lab: Lab, name: str, scope: str, days: float | None = 1) -> str:
    """A new token of an account."""
    account = accounts.get(lab.database, name)
    return tokens.make(lab.database, account, "test", Scope(scope), days)[1]


def test_a_token_is_shown_once_stored_as_a_hash_and_revoked(lab: Lab) -> None:
    browser = lab.signed_in("Ada")
    form = {"name": "my notebook", "scope": "submit", "days": "30"}
    page = browser.post("/account/tokens", data=form)
    assert page.status_code == 201
    secret = page.text.split('id="secret">')[1].split("<")[0]
    assert secret.startswith("hw_")
    later = browser.get("/account").text
    assert secret not in later
    assert secret[:9] in later
    assert "my notebook" in later
    assert secret not in str(lab.stack.rows("SELECT * FROM token"))
    assert secret not in str(lab.stack.rows("SELECT * FROM audit"))
    program = lab.program(secret)
    assert program.get("/api/v1/jobs").status_code == 200
    assert lab.stack.rows("SELECT COUNT(*) FROM token WHERE used_at IS NOT NULL") == [(1,)]
    number = tokens.list_tokens(lab.database, accounts.get(lab.database, "ada"))[0].id
    other = lab.signed_in("Vera")
    assert other.post(f"/account/tokens/{number}/revoke").status_code == 404
    assert browser.post(f"/account/tokens/{number}/revoke").status_code == 303
    assert program.get("/api/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "", "scope": "read"}, "1 to 100 characters"),
        ({"name": "x", "scope": "admin"}, "more than a member may do"),
        ({"name": "x", "scope": "king"}, "is not a scope"),
        ({"name": "x", "scope": "read", "days": "soon"}, "number of days"),
        ({"name": "x", "scope": "read", "days": "nan"}, "number of days"),
        ({"name": "x", "scope": "read", "days": "1e9"}, "number of days"),
    ],
)
def test_bad_tokens_are_not_made(lab: Lab, form: dict[str, str], words: str) -> None:
    answer = lab.signed_in("Ada").post("/account/tokens", data=form)
    assert (answer.status_code, words in answer.text) == (400, True)


def test_what_a_token_may_is_what_its_scope_leaves_of_the_role(lab: Lab) -> None:
    own, other = lab.job("ada"), lab.job("root")

    def deleted(secret: str, job: int) -> int:
        return lab.program(secret).delete(f"/api/v1/jobs/{job}").status_code

    assert deleted(token(lab, "ada", "read"), own) == 403
    assert deleted(token(lab, "vera", "read"), own) == 403
    assert deleted(token(lab, "root", "submit"), own) == 403  # as a member: it is not theirs
    submit = token(lab, "ada", "submit")
    assert deleted(submit, other) == 403
    assert deleted(submit, own) == 200
    assert deleted(token(lab, "root", "admin"), other) == 200
    for path in ("/accounts", "/audit", "/account"):
        assert lab.program(token(lab, "root", "submit")).get(path).status_code == 403, path
        assert lab.program(token(lab, "root", "admin")).get(path).status_code == 200, path
    # A token must not make another one that may do more.
    form = {"name": "more", "scope": "submit"}
    assert lab.program(submit).post("/account/tokens", data=form).status_code == 403


def test_a_role_that_was_taken_away_is_taken_from_the_tokens_too(lab: Lab) -> None:
    lab.add("Temp", "admin")
    secret = token(lab, "temp", "admin")
    assert lab.program(secret).get("/audit").status_code == 200
    account = accounts.get(lab.database, "temp")
    accounts.set_role(lab.database, account, tokens.Role.VIEWER)
    assert lab.program(secret).get("/audit").status_code == 403
    accounts.set_disabled(lab.database, account, True)
    assert lab.program(secret).get("/api/v1/jobs").status_code == 401
    accounts.set_disabled(lab.database, account, False)
    assert lab.program(secret).get("/api/v1/jobs").status_code == 200
    accounts.remove(lab.database, account)
    assert lab.program(secret).get("/api/v1/jobs").status_code == 401


def test_expired_unknown_and_malformed_tokens_are_refused(lab: Lab) -> None:
    secret = token(lab, "ada", "read")
    execute(lab.database, "UPDATE token SET expires_at = created_at - 1 WHERE name = 'test'")
    signed_in = lab.signed_in("Ada")
    for given in (secret, "hw_" + "x" * 43, "nothing at all", secret[:-1]):
        answer = lab.program(given).get("/api/v1/jobs")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "expired" in answer.text
        # A cookie does not make up for it.
        wrong = {"Authorization": f"Bearer {given}"}
        assert signed_in.get("/api/v1/jobs", headers=wrong).status_code == 401
    assert lab.program("x").get("/healthz").status_code == 200
    basic = {"Authorization": "Basic YWRhOnNlY3JldA=="}
    assert lab.browser().get("/api/v1/jobs", headers=basic).status_code == 401
    never = token(lab, "ada", "read", days=None)
    assert lab.program(never).get("/api/v1/jobs").status_code == 200


@pytest.mark.parametrize("name", ["token", "access_token", "q", "anything"])
@pytest.mark.parametrize("path", ["/api/v1/jobs", "/", "/sign-in", "/healthz"])
def test_a_token_in_the_address_is_refused_and_says_why(lab: Lab, name: str, path: str) -> None:
    secret = token(lab, "ada", "read")
    for client in (lab.browser(), lab.program(secret), lab.signed_in("Ada")):
        answer = client.get(path, params={name: secret})
        assert answer.status_code == 400
        assert "is in the address, which logs and histories keep" in answer.text
        assert secret not in answer.text


def test_programs_send_no_origin_and_metrics_take_a_token(lab: Lab) -> None:
    program = lab.program(token(lab, "ada", "submit"))
    assert program.post("/api/v1/check", json={}).status_code == 400  # let in, and wrong
    assert program.get("/metrics").status_code == 200
    assert lab.browser(Accept="*/*").get("/metrics").status_code == 401


def test_prometheus_has_a_secret_of_its_own(tmp_path: Path) -> None:
    with open_lab(tmp_path, metrics_token="of prometheus") as lab:
        lab.add("Root", "admin")
        prometheus = lab.program("of prometheus")
        assert "headwise_database_up 1.0" in prometheus.get("/metrics").text
        assert prometheus.get("/api/v1/jobs").status_code == 401
        assert lab.program("of prometheus?").get("/metrics").status_code == 401
        lab.close_clients()


def test_a_wrong_token_does_not_lock_the_account(lab: Lab) -> None:
    for _ in range(40):
        assert lab.program("hw_" + "x" * 43).get("/api/v1/jobs").status_code == 401
    assert sign_in(lab.browser(), "Ada", PASSWORD).status_code == 303
