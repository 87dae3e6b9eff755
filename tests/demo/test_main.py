"""The demo's last lines: three findings, and four addresses of pages that there are."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest

from db.console.console import Console
from demo.__main__ import show_addresses, show_findings
from jobs.settings import Settings
from scheduler.submission.study import Study
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database


class Answers:
    """A console that knows what the demo's study found."""

    def run(self, query: str) -> SimpleNamespace:
        for part, found in {
            "rank = 1": [(2, 9, 0.0457)],
            "pruning_points": [(0, 0.0, 0.6146), (14, 0.2, 0.6), (29, 0.403, 0.583)],
            "key_word": [("It [is] so.", "It is.", "is", "so")],
        }.items():
            if part in query:
                return SimpleNamespace(rows=found)
        raise AssertionError(query)


def test_it_ends_with_three_findings(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings(cast(Console, Answers()), {"attribution": 1, "pruning": 3})
    said = capsys.readouterr().out.strip()
    assert len(re.findall("^- ", said, flags=re.M)) == 3
    assert "Head 9 of layer 2 matters most" in said
    assert "Without the 29 heads that matter least (40%)" in said
    assert "on 58% of new pairs, with all heads on 61%." in said
    assert "“It [is] so.” / “It is.”" in said
    assert "“is” reads “so”" in said


def test_it_ends_with_four_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_addresses("http://127.0.0.1:8600", Study(study=2, jobs={"attribution": 7}))
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    addresses = [line.split()[-1] for line in said]
    assert len(addresses) == 4
    sqlite_database(tmp_path / "headwise.sqlite").close()
    pages = new_app(Settings(home=tmp_path)).url_map.bind("127.0.0.1")
    assert [pages.match(urlsplit(address).path)[1] for address in addresses] == [
        {"study": 2},
        {"job_id": 7},
        {},
        {},
    ]
