"""`headwise notify`, and jobs that name recipients."""

from __future__ import annotations

from pathlib import Path

from db.database import Database
from db.ops import notifications
from tests.cli.conftest import Headwise

HOOK = "https://hooks.example.org/secret-path"


def test_add_list_test_remove(headwise: Headwise, store: Database) -> None:
    assert "No recipients yet." in headwise("notify", "list").out
    ran = headwise("notify", "add", "team", HOOK, "--jobs", "long", "--conditions")
    assert ran.status == 0, ran.err
    assert ran.out.startswith(
        "Webhook https://hooks.example.org/… will be notified of jobs of more than"
    )
    [one] = headwise("notify", "list", "--json").json
    assert (one["name"], one["jobs"], one["conditions"]) == ("team", "long", True)
    assert "secret" not in headwise("notify", "list", "--json").out
    assert "problems of the installation" in " ".join(headwise("notify", "list").out.split())
    execute_past = "UPDATE notification SET event = 'test:1'"
    with store.write() as tx:
        tx.run(execute_past)
    assert headwise("notify", "test", "team").status == 0
    events = [one["event"].partition(":")[0] for one in headwise("notify", "log", "--json").json]
    assert events == ["test", "test"]
    assert "waiting" in headwise("notify", "log").out
    assert headwise("notify", "remove", "team").out == "team is removed.\n"
    assert headwise("notify", "log", "--json").json == []


def test_bad_recipients_are_one_line(headwise: Headwise, store: Database) -> None:
    bad = {
        "ann@example.org": "address: needs a mail server (given: 'ann@example.org'). Set",
        "slack://nope": "address: is not usable: ",
        "syslog://": "address: is not usable: syslog:// is not a service that can be used",
        "https://u:p@h.example/": "address: must have a host, and no user or password",
    }
    for address, message in bad.items():
        ran = headwise("notify", "add", "x", address)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith(f"headwise: {message}"), ran.err
    assert headwise("notify", "add", "team", HOOK).status == 0
    assert headwise("notify", "add", "team", HOOK).status == 2
    for command in ("test", "remove"):
        ran = headwise("notify", command, "tema")
        assert (ran.status, ran.err) == (
            2,
            "headwise: NAME: is not a recipient (given: 'tema'). Did you mean 'team'?\n",
        )


def test_submitted_jobs_name_recipients(headwise: Headwise, home: Path, store: Database) -> None:
    job = (
        *("submit", "--model", str(home / "model"), "--data", str(home / "pairs.jsonl")),
        *("--text", "premise", "--text", "hypothesis", "--notify"),
    )
    ran = headwise(*job, "team")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("headwise: notify: is not a recipient (given: 'team').")
    headwise("notify", "add", "team", HOOK, "--jobs", "asked")
    ran = headwise(*job, "team")
    assert ran.status == 0, ran.err
    assert notifications.told_of_job(store, 1) == {1}
