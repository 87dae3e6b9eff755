"""The command that writes figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.database import Database
from db.reads import results
from headwise.figures import VegaFigure, rendering
from headwise.figures.sentence import SentenceFigure
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
    figure = VegaFigure.from_spec(json.loads(path.read_text(encoding="utf-8")))
    stored = results.get_importance(store, job).heads
    assert [row["mean_total"] for row in figure.rows] == [head.mean_total for head in stored]
    picture = tmp_path / "heads.PDF"
    assert headwise(*arguments, "--to", str(picture)).status == 0
    assert picture.read_bytes().startswith(b"%PDF-")


def test_figures_of_an_example(headwise: Headwise, store: Database, tmp_path: Path) -> None:
    job = str(finished_job(store))
    listed = headwise("figure", job, "--example", "1").out
    assert [name for name in ("words", "arcs", "tree", "tau_last") if name not in listed] == []
    arguments = ("figure", job, "--kind", "words", "--example", "1", "--set", "site=0")
    for name in ("a.svg", "a.png", "a.pdf", "a.csv", "a.json"):
        assert headwise(*arguments, "--to", str(tmp_path / name)).status == 0
    figure = SentenceFigure.from_json(json.loads((tmp_path / "a.json").read_text("utf-8")))
    assert (tmp_path / "a.svg").read_text("utf-8") == figure.svg()
    assert (tmp_path / "a.csv").read_bytes().decode() == figure.csv()
    stored = results.get_example(store, int(job), 1).token_attribution
    assert stored is not None
    assert sum(row["attribution"] for row in figure.rows) == pytest.approx(sum(stored[0]))


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
        (("--kind", "words", "--to", "a.csv"), "has no figure 'words'"),
        (("--kind", "heads", "--to", "a.csv", "--example", "0"), "It has words, arcs, tree."),
        (("--kind", "words", "--to", "a.csv", "--example", "99"), "no result for example 99"),
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
