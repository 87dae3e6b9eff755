"""Pictures of trees: XML, escaped, readable without seeing."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import numpy as np

from headwise.attribution.cells import interactions
from headwise.trees import Node, Tree, build
from tests.helpers.trees import KNOWN, THREE, TOKENS

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert('1')</script>&\x00\ud800"


def drawn(tokens: tuple[str, ...] = TOKENS) -> tuple[Tree, ElementTree.Element]:
    """A known tree and its picture."""
    tree = build(interactions(KNOWN, THREE), THREE, tokens, root="classifier")
    return tree, ElementTree.fromstring(tree.to_svg())


def test_every_node_and_edge_is_drawn_and_described() -> None:
    tree, picture = drawn()
    nodes = picture.findall(f"{SVG}g")
    assert [node.find(f"{SVG}text").text for node in nodes] == [n.token for n in tree.nodes]
    for node in nodes:
        assert node.get("tabindex") == "0"
        assert node.get("role") == "img"
        assert node.get("aria-label") == node.find(f"{SVG}title").text
    assert nodes[2].get("aria-label") == (
        "it, encoder position 2: read by so in L1, attribution 0.5, 50% of the layer's largest"
    )
    assert len(picture.findall(f"{SVG}path")) == len(tree.edges())
    headings = [t.text for t in picture.findall(f"{SVG}text")]
    assert headings == ["root", "L2", "L1", "L0"]
    assert picture.find(f"{SVG}title").text == "Attribution tree of 4 tokens, root [CLS]"
    assert "Threshold 0.4" in picture.find(f"{SVG}desc").text


def test_the_letters_are_drawn_over_their_outline() -> None:
    """Some renderers, as that of PDF reports, draw a stroke over the letters of its element."""
    _, picture = drawn()
    for node in picture.findall(f"{SVG}g"):
        outline, letters = node.findall(f"{SVG}text")
        assert (outline.get("aria-hidden"), outline.get("stroke")) == ("true", "#ffffff")
        assert letters.get("stroke") is None
        assert letters.text == outline.text


def test_tokens_are_escaped() -> None:
    tree, picture = drawn(("[CLS]", EVIL, "x" * 60, "語" * 8, "\u3000"))
    text = tree.to_svg()
    assert "<script" not in text
    texts = [node.find(f"{SVG}text").text for node in picture.findall(f"{SVG}g")]
    assert texts[1].startswith("<script>alert('1')")
    assert len(texts[2]) == 24
    text.encode()


def test_nothing_overlaps() -> None:
    """No two nodes of a column share a line, and all are inside the picture."""
    generator = np.random.default_rng(3)
    values = generator.random((3, 30, 30)) ** 6
    tokens = [f"token{i}" for i in range(30)]
    tree = build(interactions(values, THREE), THREE, tokens, root="classifier", tau=0.2)
    picture = ElementTree.fromstring(tree.to_svg())
    circles = picture.findall(f"{SVG}g/{SVG}circle")
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in circles]
    assert len(places) == len(tree.nodes) > 20
    for x in {x for x, _ in places}:
        lines = sorted(y for column, y in places if column == x)
        assert all(b - a > 12 for a, b in itertools.pairwise(lines))
    width, height = float(picture.get("width")), float(picture.get("height"))
    assert max(x for x, _ in places) + 8 * 7 < width
    assert max(y for _, y in places) < height


def test_a_root_alone() -> None:
    root = Node(token="[CLS]", position=0, side="encoder")
    tree = Tree(root="classifier", tau=0.4, tau_last=0.0, nodes=(root,))
    picture = ElementTree.fromstring(tree.to_svg())
    assert len(picture.findall(f"{SVG}g")) == 1
    assert picture.findall(f"{SVG}path") == []
