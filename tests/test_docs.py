"""What is written down is true: generated pages, published columns, links, states."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import inspect

from db.database import Database
from db.queue import sql
from db.schema import metadata
from db.views import VIEW_NAMES, VIEWS, schema_page
from jobs.settings import PREFIX, Settings, settings_page
from jobs.states import JOB_TRANSITIONS, SHARD_TRANSITIONS, JobState, ShardState

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    ("page", "text"), [("schema.md", schema_page()), ("settings.md", settings_page())]
)
def test_generated_pages_are_current(page: str, text: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == text, "run `make docs`"


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


# Links.

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


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


def anchors(page: Path) -> set[str]:
    """The anchors that headings get."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# States.

SQL = {
    name: value for name, value in vars(sql).items() if name.isupper() and not name.startswith("_")
}
WORKER_STATES = {"idle", "busy", "stopped"}
LITERAL = re.compile(r"\bstate(?: =| <>|) '(\w+)'|\bstate(?: NOT)? IN \(([^)]*)\)")
BRANCH = re.compile(r"(?:THEN|ELSE) '(\w+)'")


def literals(statement: str) -> set[str]:
    """Every state that the statement names."""
    found = set(BRANCH.findall(statement))
    for one, several in LITERAL.findall(statement):
        found |= {one} if one else set(re.findall(r"'(\w+)'", several))
    return found


@pytest.mark.parametrize("name", sorted(SQL))
def test_statements_name_known_states_only(name: str) -> None:
    tables = set(re.findall(r"(?:FROM|JOIN|UPDATE|INTO) (\w+)", SQL[name]))
    known: set[str] = set()
    known |= set(JobState) if "job" in tables else set()
    known |= set(ShardState) if "shard" in tables else set()
    known |= WORKER_STATES if "worker" in tables else set()
    assert literals(SQL[name]) <= known


def test_the_literals_of_a_statement_are_found() -> None:
    """So that the test above cannot pass by finding nothing."""
    assert literals(sql.RANKED) == {"leased", "ready", "running"}
    assert literals(sql.CANCEL) == {*("cancelling", "succeeded", "failed", "cancelled", "deleting")}
    assert literals(sql.RELEASE) == {*("cancelling", "stopping", "cancelled", "ready", "leased")}


UPDATE = re.compile(
    r"UPDATE (?P<table>job|shard)\s+SET (?P<values>.*?)\bWHERE (?P<condition>.*)", re.DOTALL
)
MOVES = {
    name: match
    for name, sql in SQL.items()
    if (match := UPDATE.search(sql)) and re.search(r"\bstate =", match["values"])
}


@pytest.mark.parametrize("name", sorted(MOVES))
def test_statements_make_defined_transitions_only(name: str) -> None:
    states: type[StrEnum]
    if MOVES[name]["table"] == "job":
        states, table = JobState, dict[str, frozenset[str]](JOB_TRANSITIONS)
    else:
        states, table = ShardState, dict[str, frozenset[str]](SHARD_TRANSITIONS)
    for before, after in transitions(name, set(states)):
        assert before == after or after in table[before], f"{before} -> {after}"


def transitions(name: str, states: set[str]) -> set[tuple[str, str]]:
    """(before, after) for every state that the UPDATE leaves."""
    values, condition = MOVES[name]["values"], MOVES[name]["condition"]
    condition = condition.split("NOT EXISTS")[0].split("SELECT")[0]
    own = re.search(r"(?<!j\.)\bstate (=|IN|NOT IN) (?:'(\w+)'|\(([^)]*)\))", condition)
    if own is None:  # guarded by a :state parameter or none at all
        raise AssertionError(f"{name} does not name the states that it leaves")
    named = {own[2]} if own[2] else set(re.findall(r"'(\w+)'", own[3]))
    before = states - named if own[1] == "NOT IN" else named
    if kept := re.search(r"CASE WHEN state = '(\w+)' THEN '(\w+)' ELSE state END", values):
        return {(kept[1], kept[2])}
    if ":state" in values:
        after = {"succeeded", "failed"}
    else:
        after = set(re.findall(r"\bstate = '(\w+)'(?! THEN)", values)) | set(BRANCH.findall(values))
    if "CASE" in values:
        after = set(BRANCH.findall(values))
    return {(one, other) for one in before for other in after}


def test_the_transitions_of_a_statement_are_found() -> None:
    assert transitions("DONE", set(ShardState)) == {("leased", "done")}
    assert transitions("PAUSE", set(JobState)) == {("running", "paused")}
    assert transitions("PLANNED", set(JobState)) == {
        ("planning", "paused"),
        ("planning", "running"),
    }
    assert ("queued", "cancelling") in transitions("CANCEL", set(JobState))
    assert ("failed", "cancelling") not in transitions("CANCEL", set(JobState))
    assert {"LEASE", "FINISHED", "RETRY", "RELEASE", "RESUME"} <= set(MOVES)


def test_every_state_has_its_transitions() -> None:
    assert set(JOB_TRANSITIONS) == set(JobState)
    assert set(SHARD_TRANSITIONS) == set(ShardState)
