"""The command that writes figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.database import Database
from db.reads import results
from headwise.figures import Figure, rendering
from tests.cli.conftest import Headwise, finished_job


def test_figures_are_listed_and_written(
    headwise: Headwise, store: Database, tmp_path: Path
) -> None:
    job = finished_job(store)
    listed = headwise("figure", str(job)).out
    assert "heads" in listed
    assert "mean_total" in listed
    path = tmp_path / "heads.json"
    arguments = ("figure", str(job), "--kind", "heads", "--set", "measure=mean_total")
    assert headwise(*arguments, "--to", str(path)).status == 0
    figure = Figure.from_spec(json.loads(path.read_text(encoding="utf-8")))
    stored = results.get_importance(store, job).heads
    assert [row["mean_total"] for row in figure.rows] == [head.mean_total for head in stored]
    picture = tmp_path / "heads.PDF"
    assert headwise(*arguments, "--to", str(picture)).status == 0
    assert picture.read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kind", "curve", "--to", "a.svg"), "has no figure 'curve'"),
        (("--kind", "heads", "--to", "a.gif"), ".svg, .png, .pdf, .csv, .json"),
        (("--kind", "heads", "--to", "a"), "is of an unknown format"),
        (("--kind", "heads", "--to", "no/a.csv"), "cannot be written"),
        (("--kind", "heads", "--to", "a.csv", "--set", "measure=x"), "measure: unknown value"),
        (("--kind", "heads", "--to", "a.csv", "--set", "colour=x"), "is no choice"),
        (("--kind", "heads", "--to", "a.csv", "--set", "measure"), "Write KEY=VALUE"),
    ],
)
def test_bad_input_is_one_line(
    headwise: Headwise, store: Database, arguments: tuple[str, ...], said: str
) -> None:
    ran = headwise("figure", str(finished_job(store)), *arguments)
    assert ran.status == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_without_vl_convert_numbers_are_written(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    assert rendering.FORMS == ("svg", "png", "pdf")
    job = str(finished_job(store))
    ran = headwise("figure", job, "--kind", "heads", "--to", "a.svg")
    assert ran.status == 2
    assert "pip install 'headwise[figures]'" in ran.err
    path = tmp_path / "a.csv"
    assert headwise("figure", job, "--kind", "heads", "--to", str(path)).status == 0
    assert path.read_text(encoding="utf-8").startswith("name,")
