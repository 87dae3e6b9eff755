"""The command that writes figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import figures
from db.database import Database
from db.reads import results
from headwise.figures import VegaFigure, rendering
from headwise.figures.sentence import SentenceFigure
from jobs.settings import load_settings
from scheduler.loop import Scheduler
from tests.cli.conftest import Headwise, finished_job
from tests.helpers.scheduling import Quiet
from tests.helpers.tiny import bert_folder
from tests.helpers.working import run


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
        (("--kind", "heads", "--to", "no/a.csv"), "is in a folder that does not exist"),
        (("--kind", "heads", "--to", "a.csv", "--set", "measure=x"), "measure: unknown value"),
        (("--kind", "heads", "--to", "a.csv", "--set", "colour=x"), "is not a choice"),
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


def test_the_matrix_of_a_head_is_computed_where_it_is_not_stored(
    headwise: Headwise,
    store: Database,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bert_folder(home / "tiny", layers=2, heads=4)
    data = ("--data", str(home / "pairs.jsonl"), "--text", "premise,hypothesis", "--limit", "2")
    assert headwise("submit", "--model", str(home / "tiny"), *data, "--rtol", "0.1").status == 0
    settings, job = load_settings(home=home, threads=1, device="cpu"), 1
    scheduler = Scheduler(settings, store, Quiet())  # type: ignore[arg-type]

    def work(*_: object, **__: object) -> int:
        scheduler.tick()
        run(settings, store, 1000.0)
        return 0

    work()
    scheduler.tick()
    assert "None is stored" in headwise("matrix", str(job)).out
    path = tmp_path / "matrix.json"
    asked = ("matrix", str(job), "--example", "0", "--head", "L1 H2", "--to", str(path))
    assert "Job 2 is computing it" in headwise(*asked, "--no-watch").out
    assert not path.exists()
    monkeypatch.setattr(figures, "show_progress", work)
    ran = headwise(*asked)
    assert (ran.status, ran.err) == (0, "")
    figure = VegaFigure.from_spec(json.loads(path.read_text("utf-8")))
    assert figure.title == "Attention and attribution of L1 H2 on example 0"
    assert "L1 H2" in headwise("matrix", str(job)).out
    same = tmp_path / "same.json"
    chosen = ("--kind", "matrix", "--set", "example=0", "--set", "head=L1 H2")
    assert headwise("figure", str(job), *chosen, "--to", str(same)).status == 0
    assert same.read_bytes() == path.read_bytes()


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
