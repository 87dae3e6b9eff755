"""The documentation is true: generated pages, published columns, links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from db.database import Database
from db.schema import metadata
from db.views import VIEW_NAMES, VIEWS, schema_page
from jobs.settings import PREFIX, Settings, settings_page

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize(
    ("page", "text"), [("schema.md", schema_page()), ("settings.md", settings_page())]
)
def test_generated_pages_are_current(page: str, text: str) -> None:
    assert (ROOT / "docs/reference" / page).read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_document_of_the_api_is_current() -> None:
    # In a process of its own: here a test may have added a kind of job.
    command = [sys.executable, "-m", "cli.main", "schema", "--api"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    written = (ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8")
    assert written == made, "run `make docs`"


def test_every_setting_is_described() -> None:
    page = settings_page()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert f"`{PREFIX}{name.upper()}`" in page


# Published views.

KINDS = {
    "integer": {"INTEGER", "SMALLINT", "BIGINT"},
    "real": {"REAL", "DOUBLE PRECISION"},
    "text": {"TEXT"},
    "boolean": {"BOOLEAN"},
}


def test_the_database_has_exactly_the_described_views_and_columns(database: Database) -> None:
    with database.read() as tx:
        inspector = inspect(tx.connection)
        assert set(inspector.get_view_names()) == set(VIEW_NAMES)
        for view in VIEWS:
            found = inspector.get_columns(view.name)
            assert [c["name"] for c in found] == [c.name for c in view.columns], view.name
            for column, described in zip(found, view.columns, strict=True):
                # SQLite knows no type of an expression, and no types at all in the end.
                if database.dialect == "postgresql" and described.name not in COMPUTED:
                    assert str(column["type"]) in KINDS[described.type], described.name


COMPUTED = {"examples_done", "examples_failed"}
"""Sums, which PostgreSQL widens to bigint."""


def test_every_view_and_column_says_what_it_means() -> None:
    page = schema_page()
    for view in VIEWS:
        assert f"## {view.name}\n" in page
        assert view.meaning.endswith((".", "?"))
        assert len({column.name for column in view.columns}) == len(view.columns)
        for column in view.columns:
            assert column.meaning.endswith("."), f"{view.name}.{column.name}"
            assert column.type in KINDS
            assert "|" not in column.meaning  # it would split the cell of the page's table


def test_views_have_other_names_than_tables() -> None:
    assert not set(VIEW_NAMES) & set(metadata.tables)


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 100


# Links.

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


ENGINE = "docs/explanation/benchmarks.md"


def test_the_speeds_in_the_readme_are_those_of_the_benchmark() -> None:
    """In the same order: examples per second, and the median error."""
    _, told = (ROOT / "README.md").read_text(encoding="utf-8").split("## How fast")
    _, measured = (ROOT / ENGINE).read_text(encoding="utf-8").split("### Demo model")
    shown = [(row[1], row[2]) for row in table(told)]
    assert shown == [(row[1], row[4]) for row in table(measured)][: len(shown)]


def table(text: str) -> list[list[str]]:
    """The cells of the first table of a text, without its head."""
    lines = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert lines is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()]
    return rows[2:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/explanation").glob("decisions*.md")), ids=lambda p: p.name
)
def test_every_decision_has_a_date(page: Path) -> None:
    _, *records = page.read_text(encoding="utf-8").split("\n## ")
    undated = [
        record.splitlines()[0]
        for record in records
        if not re.match(r"(Parts\n|[^\n]+\n\n\*\d{4}-\d\d-\d\d\*\n)", record)
    ]
    assert not undated, "a line such as *2026-11-29* goes below the title"


def anchors(page: Path) -> set[str]:
    """The anchors that headings get."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
