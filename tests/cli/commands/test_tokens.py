"""headwise token."""

from __future__ import annotations

from db.accounts import accounts, tokens
from db.database import Database
from jobs.people import Role
from tests.cli.conftest import Headwise


def test_create_list_revoke(headwise: Headwise, store: Database) -> None:
    accounts.add(store, "Ada", Role.MEMBER)
    made = headwise("token", "create", "ADA", "--name", "notebook", "--scope", "submit")
    assert (made.status, made.err) == (0, "")
    found = tokens.find(store, made.out.strip())
    assert found is not None
    assert (found.account.name, found.scope.value) == ("Ada", "submit")
    listed = headwise("token", "list", "--user", "ada", "--json")
    assert [(one["name"], one["account"]) for one in listed.json] == [("notebook", "Ada")]
    assert made.out.strip() not in listed.out + headwise("token", "list").out
    assert headwise("token", "revoke", "1").out == "Token 1 is revoked.\n"
    assert tokens.find(store, made.out.strip()) is None
    never = headwise("token", "create", "ada", "--name", "cron", "--days", "0")
    assert tokens.find(store, never.out.strip()) is not None
    for arguments, words in (
        (("create", "bob", "--name", "x"), "no account 'bob'"),
        (("create", "ada", "--name", "x", "--scope", "admin"), "more than a member may do"),
        (("create", "ada", "--name", " "), "1 to 100 characters"),
        (("create", "ada", "--name", "x", "--days", "1e9"), "at most"),
        (("revoke", "9"), "no token 9"),
    ):
        refused = headwise("token", *arguments)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert words in refused.err
