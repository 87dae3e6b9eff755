"""Algorithm 1 on matrices whose tree is known, and on random ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.attribution.cells import interactions
from headwise.trees import Interactions, Tree, build
from tests.helpers.trees import KNOWN, THREE, TOKENS, Place, matrices


def shape(tree: Tree) -> list[tuple[int, int | None, int | None]]:
    """(position, the parent's position, layer) of every node."""
    return [
        (n.position, None if n.parent is None else tree.nodes[n.parent].position, n.layer)
        for n in tree.nodes
    ]


def test_the_paper_s_root() -> None:
    tree = build(interactions(KNOWN, THREE), THREE, TOKENS, root="classifier")
    assert shape(tree) == [(0, None, None), (1, 0, 2), (2, 1, 1), (3, 1, 0)]
    assert [node.token for node in tree.nodes] == ["[CLS]", "so", "it", "is"]
    assert (tree.nodes[2].value, tree.nodes[2].share) == (0.5, 0.5)
    assert tree.edges() == [(2, 0, 1), (1, 1, 2), (0, 1, 3)]


def test_the_root_of_the_paper_s_code() -> None:
    """Token 3 gives most; the last layer is left out, and so are edges from [CLS]."""
    tree = build(interactions(KNOWN, THREE), THREE, TOKENS)
    assert tree.root == "outgoing", "the rule where none is asked for"
    assert shape(tree) == [(3, None, None), (1, 3, 1), (4, 3, 0)]
    other = matrices({(1, 2): 0.4, (0, 1): 9.0}, {(1, 2): -0.3, (2, 1): 0.2}, {(0, 1): 1.0})
    found = interactions(other, THREE)
    assert found.outgoing == 2, "sums over layers come before negative cells are dropped"
    top = build(found, THREE, TOKENS, root="outgoing", tau=1.0)
    assert shape(top) == [(2, None, None)]
    half = build(found, THREE, TOKENS, root="outgoing", tau=0.5)
    assert shape(half) == [(2, None, None), (1, 2, 1)], "0.2 of 0.2, not of 9, the row of [CLS]"


def test_any_token_as_the_root() -> None:
    tree = build(interactions(KNOWN, THREE), THREE, TOKENS, root=2)
    assert shape(tree) == [(2, None, None), (0, 2, 1), (3, 0, 0)]


@pytest.mark.parametrize(
    ("tau", "positions"), [(0.39, {0, 1, 2, 3}), (0.38, {0, 1, 2, 3, 4}), (0.5, {0, 1, 3})]
)
def test_tau_is_a_strict_limit(tau: float, positions: set[int]) -> None:
    tree = build(interactions(KNOWN, THREE), THREE, TOKENS, tau=tau, root="classifier")
    assert {node.position for node in tree.nodes} == positions


def test_tau_of_the_last_layer() -> None:
    found = interactions(KNOWN, THREE)
    assert build(found, THREE, TOKENS, tau_last=0.4, root="classifier").nodes[1].layer == 1
    assert 4 not in [n.position for n in build(found, THREE, TOKENS, root="classifier").nodes]


def test_the_strongest_of_a_layer_is_the_parent_and_of_equal_ones_the_first() -> None:
    layers = ({(1, 3): 0.5, (2, 3): 0.6, (1, 4): 0.6, (2, 4): 0.6}, {(0, 2): 1.0, (0, 1): 1.0})
    tree = build(interactions(matrices(*layers), THREE[:2]), THREE[:2], TOKENS, root="classifier")
    assert shape(tree) == [(0, None, None), (1, 0, 1), (2, 0, 1), (4, 1, 0), (3, 2, 0)]


def test_who_joins_in_a_layer_reads_below_it_only() -> None:
    layers = ({(2, 3): 1.0}, {(0, 1): 1.0, (1, 2): 1.0}, {(0, 4): 1.0})
    tree = build(interactions(matrices(*layers), THREE), THREE, TOKENS, root="classifier")
    assert [n.position for n in tree.nodes] == [0, 4, 1]


def test_layers_without_attribution() -> None:
    for values in (0.0, -1.0, np.nan):
        empty = np.full((3, 5, 5), values)
        for root in ("classifier", "outgoing"):
            assert shape(build(interactions(empty, THREE), THREE, TOKENS, root=root)) == [
                (0, None, None)
            ]
    one = build(interactions(np.ones((1, 1, 1)), THREE[:1]), THREE[:1], ("a",), root="outgoing")
    assert len(one.nodes) == 1


def test_decoders_and_cross_attention() -> None:
    """From the decoder's token by its own and the encoder's sites; a token joins on each side."""
    sites = (Place(0), Place(0, "decoder"), Place(0, "cross"))
    sites += (Place(1, "decoder"), Place(1, "cross"))
    values = matrices(
        {(2, 1): 1.0, (1, 4): 1.0},
        {(3, 2): 1.0},
        {(3, 1): 1.0},
        {(4, 3): 0.1, (4, 4): 1.0},
        {(4, 4): 0.1, (4, 2): 0.2},
    )
    tree = build(interactions(values, sites), sites, TOKENS, root="classifier")
    found = [(n.side, n.position, n.site) for n in tree.nodes]
    assert found == [
        ("decoder", 4, None),
        ("encoder", 2, 4),
        ("encoder", 4, 4),
        ("decoder", 3, 3),
        ("encoder", 1, 2),
        ("decoder", 2, 1),
    ], "tau_last holds for both sites of the last layer; (4, 4) of cross-attention is an edge"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": "cls"}, "root 'cls' is unknown; use outgoing, classifier or a position"),
        ({"root": 5}, "root 5 is not a position in a text of 5 tokens"),
        ({"root": -1}, "root -1"),
        ({"tau": 0.1}, "tau must be from 0.2, which is what was kept, to 1, not 0.1"),
        ({"tau": float("nan")}, "tau must be"),
        ({"tau_last": 1.5}, "tau_last must be from 0 to 1, not 1.5"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(interactions(KNOWN, THREE), THREE, TOKENS, **arguments)


def test_json_round_trip() -> None:
    tree = build(
        interactions(KNOWN, THREE),
        THREE,
        ("[CLS]", "sö", '"', "\n", "</script>"),
        root="classifier",
    )
    assert Tree.from_json(tree.to_json()) == tree
    assert Tree.from_json(tree.to_json().replace('"attention_type"', '"kind"')) == tree
    assert json.loads(tree.to_json())["nodes"][3]["layer"] == 0


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 9),
    layers=st.integers(1, 5),
    root=st.sampled_from(["classifier", "outgoing"]),
    tau=st.floats(0.2, 1),
)
def test_what_holds_for_every_tree(seed: int, n: int, layers: int, root: str, tau: float) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(layers, n, n)).round(1)
    sites = tuple(Place(layer) for layer in range(layers))
    found = interactions(values, sites)
    tree = build(found, sites, [str(i) for i in range(n)], root=root, tau=tau)
    positions = [node.position for node in tree.nodes]
    assert len(set(positions)) == len(positions), "a token joins once"
    for index, node in enumerate(tree.nodes[1:], start=1):
        assert node.parent is not None
        assert node.parent < index, "one parent, which was there before"
        parent = tree.nodes[node.parent]
        assert node.site is not None
        assert parent.site is None or parent.site > node.site
        rows = np.delete(values[node.site], found.classifier, 0) if root == "outgoing" else None
        largest = values[node.site].max() if rows is None else rows.max()
        last = node.site == layers - 1
        value = values[node.site, parent.position, node.position]
        assert value > (0 if last else tau) * largest
        assert node.value == pytest.approx(value, rel=1e-4)
    if root == "classifier":
        _nobody_is_missing(tree, found, values, tau)


def _nobody_is_missing(tree: Tree, found: Interactions, values: np.ndarray, tau: float) -> None:
    """Nodes outside the tree have no edge from those that were in it before, of the cells kept."""
    absent = set(range(values.shape[1])) - {node.position for node in tree.nodes}
    for site, matrix in enumerate(values):
        threshold = (0 if site == len(values) - 1 else tau) * matrix.max()
        above = [n.position for n in tree.nodes if n.site is None or n.site > site]
        for query in above:
            capped = len(found.sites[site].cells) >= 4 * len(matrix) and query != found.classifier
            for key in () if capped else absent:
                assert matrix[query, key] <= max(threshold, 0) + 1e-9
