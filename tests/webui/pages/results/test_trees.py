"""The attribution tree on an example's page, and its files."""

from __future__ import annotations

import html
import json
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from headwise.attribution.cells import interactions
from headwise.trees import Node, Tree
from tests.helpers.statements import queries
from tests.helpers.trees import KNOWN, THREE

TEXT = (("so it", "is"),)
TOKENS = ("[CLS]", "so", "it", "[SEP]", "is", "[SEP]")
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def place(database: Database, seeding: SimpleNamespace) -> str:
    """The address of an example with a known tree."""
    return stored(database, seeding)


def stored(database: Database, seeding: SimpleNamespace, **values: object) -> str:
    job = seeding.seed_job(database, layers=3, **{"pairs": TEXT, **values})
    summed = np.zeros((3, 6, 6))
    summed[:, :5, :5] = KNOWN
    r = schema.example_result.c
    with database.write() as tx:
        mine = (r.job_id == job) & (r.example_no == 0)
        cells = interactions(summed, THREE).to_json()
        tx.execute(update(schema.example_result).where(mine).values(interactions=cells))
    return f"/jobs/{job}/examples/0"


def drawn(page: str) -> ElementTree.Element:
    """The only tree of a page."""
    (found,) = re.findall(r'<svg [^>]*class="drawn tree".*?</svg>', page, re.DOTALL)
    return ElementTree.fromstring(found)


def labels(picture: ElementTree.Element) -> list[str]:
    svg = "{http://www.w3.org/2000/svg}"
    return [node.find(f"{svg}text").text for node in picture.findall(f"{svg}g")]


def test_the_cells_are_read_once(client: FlaskClient, app: Flask, place: str) -> None:
    for address in (place, f"/api/v1{place}/figures/tree", f"/api/v1{place}/tree.json"):
        with queries(app.extensions["headwise"].database) as sent:
            assert client.get(address).status_code == 200
        assert len([one for one in sent if one.lstrip().startswith("SELECT interactions")]) == 1


def test_the_page_draws_the_tree(client: FlaskClient, place: str) -> None:
    assert labels(drawn(client.get(place).text)) == ["[SEP]", "so", "is"]  # as the paper's code
    page = client.get(f"{place}?root=classifier").text
    assert labels(drawn(page)) == ["[CLS]", "so", "it", "[SEP]"]
    table = page[page.index("The tree as a table") :]
    assert "<td>encoder 2</td>" in table
    assert '<code class="token">so</code></td><td>L1</td>' in table
    assert not re.search(r"(?i)\sstyle=|<style|\son[a-z]+=", page)


def test_root_and_thresholds_can_be_chosen(client: FlaskClient, place: str) -> None:
    for query, expected in (
        ("root=outgoing", ["[SEP]", "so", "is"]),
        ("root=2", ["it", "[CLS]", "[SEP]"]),
        ("tau=0.5", ["[CLS]", "so", "[SEP]"]),
        ("tau=0.35", ["[CLS]", "so", "it", "[SEP]", "is"]),
    ):
        root = "" if query.startswith("root") else "&root=classifier"
        page = client.get(f"{place}?{query}{root}").text
        assert labels(drawn(page)) == expected, query
        name, value = query.split("=")
        select = page[page.index(f'<select name="{name}">') :].split("</select>")[0]
        assert f'value="{value}" selected' in select
        # The files are of the same tree.
        link = html.unescape(re.findall(r'href="([^"]*tree\?[^"]*format=svg)"', page)[0])
        assert labels(ElementTree.fromstring(client.get(link).data)) == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("root=top", "root"), ("root=6", "root"), ("root=-1", "root"), ("tau=0.1", "tau")),
        *(("tau=nan", "tau"), ("tau=x", "tau"), ("tau_last=1.5", "tau_last")),
    ],
)
def test_bad_choices_are_named(client: FlaskClient, place: str, query: str, field: str) -> None:
    for path in (place, f"/api/v1{place}/figures/tree", f"/api/v1{place}/tree.json"):
        refused = client.get(f"{path}?{query}", headers={"Accept": "application/json"})
        assert refused.status_code == 400, path
        assert [p["field"] for p in refused.json["problems"]] == [field]


def test_the_tree_is_read_with_any_threshold(client: FlaskClient, place: str) -> None:
    answer = client.get(f"/api/v1{place}/tree.json?root=classifier&tau=0.38")
    tree = Tree(**{**answer.json, "nodes": tuple(Node(**one) for one in answer.json["nodes"])})
    assert [node.token for node in tree.nodes] == ["[CLS]", "so", "it", "[SEP]", "is"]
    assert answer.json["tau"] == 0.38
    assert client.get(f"/api/v1{place}/tree.json").json["root"] == "outgoing"


def test_an_example_without_a_tree(client: FlaskClient, place: str) -> None:
    """Failed, or computed before trees were stored."""
    other = place.removesuffix("0") + "1"
    page = client.get(other)
    assert page.status_code == 200
    assert 'id="tree"' not in page.text
    missing = client.get(f"/api/v1{other}/figures/tree")
    assert missing.status_code == 404
    assert "has no tree of example 1" in missing.text


def test_hostile_and_missing_texts(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    hostile = stored(database, seeding, pairs=((EVIL, EVIL),))
    with database.write() as tx:
        tokens = json.dumps(["[CLS]", EVIL, '"&', "c", "d", "e"])
        unknown = {"word_index": None, "token_spans": None}
        tx.execute(update(schema.example_result).values(tokens=tokens, **unknown))
    page = client.get(f"{hostile}?root=classifier").text
    assert "<script>alert" not in page
    assert labels(drawn(page))[:3] == ["[CLS]", EVIL[:23] + "…", '"&']
    forgotten = stored(database, seeding, keep_text=False)
    assert labels(drawn(client.get(f"{forgotten}?root=classifier").text)) == [
        "#0",
        "#1",
        "#2",
        "#3",
    ]
