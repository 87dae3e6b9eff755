"""Reports of studies: one file that asks for nothing, with the numbers of the API; and its PDF."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from flask.testing import FlaskClient
from pypdf import PdfReader

from db.database import Database
from db.reads.results import list_sites
from db.reads.telling import telling_examples
from headwise.attribution.cells import interactions
from jobs.errors import InputError, UnavailableError
from jobs.formatting import number, percent
from jobs.settings import Settings
from scheduler.figures.telling import RULE
from scheduler.report import BIBTEX, pdf
from tests.helpers.studies import Whole, whole_study
from tests.webui.api.answers import problems
from tests.webui.pages.studies.test_studies import finished_study, set_state

API = "/api/v1/studies"
LOADS = {"script", "link", "iframe", "object", "embed", "video", "audio", "source", "base", "form"}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


@pytest.fixture
def whole(database: Database, settings: Settings) -> Whole:
    """A study with results of every kind."""
    return whole_study(database, settings, "A & B")


@pytest.fixture
def study(submission: dict[str, Any]) -> dict[str, Any]:
    """A good study that nobody computes."""
    return {"name": "waiting", "spec": {**submission["spec"], "examples": 2}}


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def report(client: FlaskClient, study: int) -> str:
    """The HTML of a study's report."""
    answer = client.get(f"{API}/{study}/report.html")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert f'filename="headwise-study-{study}-report.html"' in answer.headers["Content-Disposition"]
    return answer.text


def text_of(page: str) -> str:
    """The words of a page, with plain blanks."""
    text = unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    return " ".join(text.split())


def pages_of(content: bytes) -> tuple[int, str]:
    """The number of pages of a PDF, and its words."""
    pages = PdfReader(io.BytesIO(content)).pages
    return len(pages), " ".join("\n".join(page.extract_text() for page in pages).split())


def pictures(page: str) -> list[bytes]:
    """The pictures in a page."""
    found = [image["src"] for image in Elements(page).named("img")]
    return [base64.b64decode(one.removeprefix("data:image/svg+xml;base64,")) for one in found]


def test_a_report_asks_for_nothing(client: FlaskClient, whole: Whole) -> None:
    page = report(client, whole.study)
    elements = Elements(page)
    assert {name for name, _ in elements.found} & LOADS == set()
    assert all(
        value.startswith("data:image/svg+xml;base64,")
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in ("src", "srcset", "background", "style", "data", "poster")
    )
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for drawn in (style, *(picture.decode() for picture in pictures(page))):
        assert "@import" not in drawn
        assert "<script" not in drawn
        assert all(one.startswith("#") for one in re.findall(r"url\([\"']?([^)]*)\)", drawn))
        assert all(one.startswith("#") for one in re.findall(r"(?:href|src)=\"([^\"]*)\"", drawn))
    (policy,) = [one["content"] for one in elements.named("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'; ")
    answer = client.get(f"{API}/{whole.study}/report.html")
    assert answer.headers["Content-Security-Policy"].startswith(policy)


def test_its_figures_are_those_of_the_study(client: FlaskClient, whole: Whole) -> None:
    figures = f"{API}/{whole.study}/figures"
    expected = []
    for one in client.get(figures).json["figures"]:
        labels = [f"&label={value['value']}" for value in one["choices"].get("label", ())]
        for label in labels or [""]:
            answer = client.get(f"{figures}/{one['name']}?format=svg{label}")
            if answer.status_code != 404:
                expected.append(answer.data)
    page = report(client, whole.study)
    assert pictures(page)[: len(expected)] == expected
    assert len(expected) == 6
    assert all(image["alt"] for image in Elements(page).named("img"))
    assert "Figure 6. Completeness by layer." in text_of(page)


def test_its_examples_are_the_telling_ones_with_all_their_figures(
    client: FlaskClient, database: Database, whole: Whole
) -> None:
    job = whole.attribution
    cells = interactions(np.ones((2, 4, 4)), list_sites(database, job)).to_json()
    with database.write() as tx:
        query = "UPDATE example_result SET interactions = :cells WHERE job_id = :job"
        tx.run(query, cells=cells, job=job)
    page = report(client, whole.study)
    chosen = telling_examples(database, job)
    assert chosen
    expected = [
        client.get(f"/api/v1/jobs/{job}/examples/{one.example}/figures/{kind}").data
        for one in chosen
        for kind in ("words", "arcs", "tree")
    ]
    assert pictures(page)[-len(expected) :] == expected
    text = text_of(page)
    assert RULE in text
    for one in chosen:
        assert f"Example {one.example} of job {job} {one.reason.capitalize()}: " in text
        assert text.count(f"Shown as {one.reason}.") == 3


def test_its_intervals_are_those_of_the_api(client: FlaskClient, whole: Whole) -> None:
    page = text_of(report(client, whole.study))
    jobs = "/api/v1/jobs"
    heads = client.get(f"{jobs}/{whole.attribution}/heads").json["heads"]
    assert len(heads) == 6
    for head in heads:
        mean, low, high = (number(head[name]) for name in ("mean", "low", "high"))
        assert f"{head['rank']} {mean} ({low} to {high})" in page
    ranked = client.get(f"{jobs}/{whole.importance}/rankings").json["rankings"]
    assert len(ranked) == 12
    for head in ranked:
        assert f"{head['rank']} {head['rank_low']} to {head['rank_high']}" in page
    points = client.get(f"{jobs}/{whole.pruning}/pruning").json
    assert points["choice"]["removed"] > 0
    assert f"{percent(points['choice']['held_out_accuracy'])} (" in page
    shown = 0
    for point in points["points"]:
        if point["scope"] == "global" and point["source"] != "random":
            found = [point["result"][f"accuracy{end}"] for end in ("", "_low", "_high")]
            value, low, high = map(percent, found)
            assert f"{value} ({low} to {high})" in page
            shown += 1
    assert shown > 6
    for trigger in client.get(f"{jobs}/{whole.attack}/triggers").json["triggers"]:
        for result in trigger["results"]:
            if result["rank"] == 1 and result["success"][0] is not None:
                value, low, high = map(percent, result["success"])
                assert f"{value} ({low} to {high})" in page
                assert trigger["text"] in page


def test_it_has_question_method_findings_specification_and_hashes(
    client: FlaskClient, whole: Whole
) -> None:
    page = report(client, whole.study)
    found = text_of(page)
    api = client.get(f"{API}/{whole.study}").json
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        *("Question", "Method", "Findings", "Figures", "Examples", "Tables"),
        *("Specification", "Hashes and versions", "Citation of the method"),
    ]
    assert "<title>A &amp; B</title>" in page
    assert "Attr_h(A) = A_h ⊙ ∫" in found
    assert len(api["findings"]) == 5
    for sentence in (one for some in api["findings"].values() for one in some):
        assert " ".join(sentence.split()) in found
    for step, job in api["steps"].items():
        assert f"<h3>{step} (job {job['id']})</h3>" in page
        for name in ("result_hash", "data_fingerprint", "model_fingerprint", "spec_hash"):
            assert not job[name] or job[name] in found
        assert f'"kind": "{job["kind"]}"' in found or job["kind"] == "attribution"
    assert "&lt;no&gt;" in page
    assert "<no>" not in page
    assert "This study is not complete" not in found
    assert " ".join(BIBTEX.split()) in found


def test_the_citation_is_that_of_the_repository() -> None:
    cited = yaml.safe_load((Path(__file__).parents[3] / "CITATION.cff").read_text("utf-8"))
    (paper,) = cited["references"]
    names = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", BIBTEX, re.MULTILINE))
    assert fields == {
        "title": paper["title"],
        "author": names,
        "booktitle": paper["collection-title"],
        "volume": str(paper["volume"]),
        "number": str(paper["issue"]),
        "pages": f"{paper['start']}--{paper['end']}",
        "year": str(paper["year"]),
        "doi": paper["doi"],
    }


@pytest.mark.usefixtures("pango")
def test_a_study_without_results_says_what_is_missing(
    client: FlaskClient, study: dict[str, Any], database: Database
) -> None:
    made = client.post(API, json=study).json
    set_state(database, made["jobs"]["taylor"], "failed", "out of memory")
    page = text_of(report(client, made["study"]))
    assert "This study is not complete." in page
    number = made["jobs"]["attribution"]
    assert f"attribution (job {number}): has not ended, 0 of 2 examples computed." in page
    assert f"taylor (job {made['jobs']['taylor']}): failed, out of memory." in page
    assert page.count("None yet.") == 3
    count, words = pages_of(client.get(f"{API}/{made['study']}/report.pdf").data)
    assert count > 0
    assert "This study is not complete." in words


@pytest.mark.usefixtures("pango")
def test_the_pdf_says_the_same(client: FlaskClient, database: Database) -> None:
    study, *_ = finished_study(database, "paper")
    answer = client.get(f"{API}/{study}/report.pdf")
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert f'filename="headwise-study-{study}-report.pdf"' in answer.headers["Content-Disposition"]
    count, words = pages_of(answer.data)
    assert count > 1
    assert f"1 / {count}" in words
    assert PdfReader(io.BytesIO(answer.data)).metadata.title == "paper"  # type: ignore[union-attr]
    assert "Self-Attention Attribution" in words
    api = client.get(f"{API}/{study}").json
    for sentence in (one for some in api["findings"].values() for one in some):
        assert " ".join(sentence.split()) in words
    assert " ".join(BIBTEX.split()) in words
    assert "Attribution score" in words  # of a figure, as text
    for job in api["steps"].values():
        assert job["result_hash"] in words.replace(" ", "")


def test_a_page_leads_to_both(client: FlaskClient, database: Database) -> None:
    study, *_ = finished_study(database)
    page = client.get(f"/studies/{study}").text
    for form in ("html", "pdf"):
        assert f'href="{API}/{study}/report.{form}"' in page


def test_a_study_that_is_not_there(client: FlaskClient) -> None:
    for form in ("html", "pdf"):
        (problem,) = problems(client.get(f"{API}/99/report.{form}"), 404)
        assert problem["message"] == "There is no study 99."
    problems(client.get(f"{API}/99/report.doc"), 404)


@pytest.mark.usefixtures("pango")
def test_a_pdf_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    picture = tmp_path / "pixel.png"
    picture.write_bytes(base64.b64decode(PIXEL))
    assert images(f"data:image/png;base64,{PIXEL}") == 1
    assert images(picture.as_uri()) == 0


def images(address: str) -> int:
    """The images in a PDF of a page with this one."""
    made = pdf.to_pdf(f'<p>x</p><img src="{address}" alt="">')
    return len(PdfReader(io.BytesIO(made)).pages[0].images)


def _no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)


def _no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "_PROCESS", "tests.helpers.pdf_without_pango")


@pytest.mark.parametrize(
    ("broken", "command"),
    [
        (_no_package, "pip install -e './cli[report]'"),
        (_no_library, "apt-get install libpango-1.0-0 libpangoft2-1.0-0"),
    ],
)
def test_what_makes_pdfs_may_be_missing(
    client: FlaskClient,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[pytest.MonkeyPatch], None],
    command: str,
) -> None:
    broken(monkeypatch)
    with pytest.raises(InputError, match=re.escape(command)):
        pdf.to_pdf("<p>x</p>")
    study, *_ = finished_study(database)
    (problem,) = problems(client.get(f"{API}/{study}/report.pdf"), 400)
    assert command in problem["remedy"]
    assert ("report.pdf" in client.get(f"/studies/{study}").text) == (broken is _no_library)


def test_a_pdf_that_takes_too_long_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(pdf, "SECONDS", 0)
        with pytest.raises(UnavailableError, match="longer than 0 s"):
            pdf.to_pdf("<p>x</p>")
    monkeypatch.setattr(pdf, "_PROCESS", "scheduler.report.no_such_module")
    with pytest.raises(UnavailableError, match="could not be made: ModuleNotFoundError"):
        pdf.to_pdf("<p>x</p>")
