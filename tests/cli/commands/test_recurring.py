"""headwise recurring."""

from __future__ import annotations

import json
from pathlib import Path

from db.database import Database
from tests.cli.conftest import Headwise


def test_add_list_pause_resume_remove(headwise: Headwise, home: Path, store: Database) -> None:
    data = {"path": str(home / "pairs.jsonl"), "text_columns": ["premise", "hypothesis"]}
    (home / "spec.json").write_text(
        json.dumps({"model": {"name": str(home / "model")}, "data": data}), encoding="utf-8"
    )
    assert "No recurring jobs yet." in headwise("recurring", "list").out
    ran = headwise(
        *("recurring", "add", "--cron", "30 2 * * *", "--zone", "Europe/Berlin"),
        *("--spec", str(home / "spec.json"), "--name", "nightly", "--set", "priority=-10"),
    )
    assert ran.status == 0, ran.err
    assert ran.out.startswith("Recurring job 1 added, first at 2")
    [one] = headwise("recurring", "list", "--json").json
    assert (one["name"], one["submission"]["priority"]) == ("nightly", -10)
    assert "nightly  30 2 * * *  Europe/Berlin" in headwise("recurring", "list").out
    assert headwise("recurring", "pause", "1").out == "Recurring job 1 paused.\n"
    assert "paused" in headwise("recurring", "list").out
    assert headwise("recurring", "resume", "1").status == 0
    bad = headwise("recurring", "add", "--cron", "x", "--spec", str(home / "spec.json"))
    assert (bad.status, bad.out) == (2, "")
    assert bad.err.startswith("headwise: cron: must have five fields")
    assert headwise("recurring", "add", "--cron", "0 3 * * *", "--job", "9").status == 2
    assert headwise("recurring", "remove", "1").status == 0
    assert headwise("recurring", "remove", "1").err == "headwise: There is no recurring job 1.\n"
