"""headwise user, and binds that are refused until somebody says who may come in."""

from __future__ import annotations

import io
import sys

import pytest

from db.accounts import accounts, links, sessions
from db.accounts.passwords import matches
from db.accounts.sessions import Visit
from db.database import Database
from tests.cli.conftest import Headwise
from tests.helpers.databases import rows


def test_add_list_role_disable_reset_remove(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No accounts yet" in headwise("user", "list").out
    added = headwise("user", "add", "Ada Lovelace", "--admin")
    assert (added.status, added.err) == (0, "")
    link = added.out.split()[-1]
    assert link.startswith("http://127.0.0.1:8600/welcome/")
    account = links.use(store, link.rsplit("/", 1)[1], "correct horse battery")
    assert (account.name, account.folded) == ("Ada Lovelace", "ada lovelace")
    again = headwise("user", "add", "ADA  LOVELACE")
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert "There is an account" in again.err

    monkeypatch.setattr(sys, "stdin", io.StringIO("another fine phrase\n"))
    assert headwise("user", "add", "bob", "--role", "viewer", "--password").status == 0
    assert matches(accounts.get(store, "BOB").password, "another fine phrase")
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    short = headwise("user", "add", "eve", "--password")
    assert (short.status, "12 to 1,000 characters" in short.err) == (2, True)
    assert accounts.find(store, "eve") is None  # nothing is left of it

    listed = headwise("user", "list", "--json").json
    assert [(one["name"], one["role"]) for one in listed] == [
        ("Ada Lovelace", "admin"),
        ("bob", "viewer"),
    ]
    assert "argon2" not in headwise("user", "list", "--json").out
    assert headwise("user", "role", "bob", "member").out == "bob is a member now.\n"
    visit = Visit(way="password", address="", agent="", seconds=60)
    sessions.start(store, accounts.get(store, "bob"), visit)
    assert headwise("user", "disable", "bob").status == 0
    assert rows(store, "SELECT COUNT(*) FROM session") == [(0,)]
    assert "disabled" in headwise("user", "list").out
    assert headwise("user", "reset", "bob").status == 2
    assert headwise("user", "enable", "bob").status == 0
    assert "/welcome/" in headwise("user", "reset", "bob").out
    accounts.link_identity(store, accounts.get(store, "bob"), "https://login.example", "1")
    assert headwise("user", "unlink", "bob").out == "bob is unlinked.\n"
    again = headwise("user", "unlink", "bob")
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert headwise("user", "remove", "bob").status == 0
    unknown = headwise("user", "remove", "bob")
    assert (unknown.status, unknown.err.count("\n")) == (2, 1)
    actions = [row[0] for row in rows(store, "SELECT action FROM audit ORDER BY id")]
    assert actions == [
        *("add account", "add account", "add account", "role account", "disable account"),
        *("enable account", "reset account", "unlink account", "remove account"),
    ]


def test_the_last_administrator_stays(headwise: Headwise, store: Database) -> None:
    headwise("user", "add", "ada", "--admin")
    for arguments in (("remove", "ada"), ("disable", "ada"), ("role", "ada", "viewer")):
        refused = headwise("user", *arguments)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert "last administrator" in refused.err
    headwise("user", "add", "bob", "--admin")
    assert headwise("user", "remove", "ada").status == 0
    assert headwise("user", "disable", "bob").status == 2


@pytest.mark.parametrize("name", ["", "   ", "\u200b", "a\u200bb", "x" * 101, "a\u202eb"])
def test_names_that_cannot_be_seen_are_refused(
    headwise: Headwise, store: Database, name: str
) -> None:
    refused = headwise("user", "add", name)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert accounts.list_accounts(store) == []


@pytest.mark.parametrize("command", ["web", "up"])
@pytest.mark.parametrize(
    ("host", "auth", "names", "words"),
    [
        ("0.0.0.0", "", "", "headwise user add NAME --admin"),
        ("0.0.0.0", "", "lab.example", "HEADWISE_AUTH=none"),
        ("::", "", "", "HEADWISE_AUTH=password"),
        ("192.0.2.1", "none", "", "HEADWISE_TRUSTED_HOSTS"),
        ("lab.example", "password", "", "HEADWISE_TRUSTED_HOSTS"),
        ("127.0.0.1", "passwort", "", "Did you mean 'password'?"),
        ("127.0.0.1", "none,password", "", "combines none with"),
    ],
)
def test_a_bind_that_others_reach_needs_a_word_about_who_may_come_in(
    headwise: Headwise,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    host: str,
    auth: str,
    names: str,
    words: str,
) -> None:
    monkeypatch.setenv("HEADWISE_HOST", host)
    monkeypatch.setenv("HEADWISE_AUTH", auth)
    monkeypatch.setenv("HEADWISE_TRUSTED_HOSTS", names)
    refused = headwise(command)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert words in refused.err
