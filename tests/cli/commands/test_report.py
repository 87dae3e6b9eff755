"""The command that writes the report of a study."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from db.database import Database
from scheduler.report import pdf
from tests.cli.conftest import Headwise
from tests.webui.pages.studies.test_studies import finished_study


@pytest.mark.usefixtures("pango")
def test_a_report_is_written(headwise: Headwise, store: Database, tmp_path: Path) -> None:
    study, *_ = finished_study(store, "paper")
    for name in ("report.html", "report.PDF"):
        ran = headwise("report", str(study), "--to", str(tmp_path / name))
        assert (ran.status, ran.out, ran.err) == (0, "", "")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<title>paper</title>" in page
    pictures = re.findall(r'<img src="[^"]*" alt="([^"]*)"', page)
    begins = ("Heat map of 6 heads", "The ranks of 6 heads", "Residual of completeness")
    example = ("[CLS] a b [SEP]. Most raise", "[CLS] a b [SEP]. [CLS] reads [SEP]")
    assert len(pictures) == len(begins + example)
    assert all(map(str.startswith, pictures, begins + example))
    assert len(PdfReader(tmp_path / "report.PDF").pages) > 1


@pytest.mark.parametrize(
    ("study", "to", "said"),
    [
        ("99", "report.html", "There is no study 99."),
        ("99", "report.pdf", "There is no study 99."),
        ("1", "report.doc", "is of an unknown format (given: 'report.doc'). Known: .html, .pdf."),
        ("1", "report", "is of an unknown format"),
        ("1", "no/report.html", "--to: is in a folder that does not exist"),
    ],
)
def test_bad_input_is_one_line(
    headwise: Headwise, store: Database, study: str, to: str, said: str
) -> None:
    finished_study(store)
    ran = headwise("report", study, "--to", to)
    assert ran.status == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_machine_without_pango(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pdf, "_PROCESS", "tests.helpers.pdf_without_pango")
    study, *_ = finished_study(store)
    ran = headwise("report", str(study), "--to", str(tmp_path / "report.pdf"))
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0" in ran.err
    assert not (tmp_path / "report.pdf").exists()


def test_a_machine_without_vl_convert(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    study, *_ = finished_study(store)
    ran = headwise("report", str(study), "--to", "report.html")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "pip install 'headwise[figures]'" in ran.err
