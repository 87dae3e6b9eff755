"""The attribution tree of an example: the root at the left, then one column per site.

Every node can be reached by keyboard and has a description in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

from headwise.figures.figure import Source, caption
from headwise.figures.palette import LIGHT
from headwise.figures.sentence.figure import SentenceFigure
from headwise.figures.sentence.measuring import text_width
from headwise.figures.sentence.svg import coloured, document, letters, outline, safe
from headwise.naming import site_label

COLUMNS = (
    *("token", "position", "side", "read_by", "read_by_position"),
    *("layer", "attention_type", "attribution", "share"),
)
_ROW, _TOP, _SIZE, _GAP, _DOT = 26, 40, 13, 46, 4
_LONGEST = 24  # characters of a label; the description has the whole token


class NodeLike(Protocol):
    """A token of a tree and the edge to its parent, as `headwise.trees.Node`."""

    @property
    def token(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def side(self) -> str: ...
    @property
    def parent(self) -> int | None: ...
    @property
    def site(self) -> int | None: ...
    @property
    def layer(self) -> int | None: ...
    @property
    def attention_type(self) -> str | None: ...
    @property
    def value(self) -> float | None: ...
    @property
    def share(self) -> float | None: ...


class TreeLike(Protocol):
    """A tree and what it was built with, as `headwise.trees.Tree`."""

    @property
    def rule(self) -> str: ...
    @property
    def tau(self) -> float: ...
    @property
    def tau_last(self) -> float: ...
    @property
    def nodes(self) -> Sequence[NodeLike]: ...
    def children(self, parent: int) -> Sequence[int]: ...


def tree(shown: TreeLike, sources: Sequence[Source] = ()) -> SentenceFigure:
    """The flow of information into the root, layer by layer from the top."""
    nodes = shown.nodes
    title = f"Attribution tree of {len(nodes)} tokens, root {nodes[0].token}"
    how = (
        "Each token is read by the one at its left, in the layer above it. Threshold"
        f" {shown.tau:g} of the layer's largest attribution, {shown.tau_last:g} in the last layer."
    )
    return SentenceFigure(
        title=title,
        description=how,
        columns=COLUMNS,
        rows=[_as_row(nodes, node) for node in nodes],
        caption=caption(title, f"{how} The root is {shown.rule}.", sources),
        picture=lambda _width: _draw(shown, title, how),
    )


def describe_node(nodes: Sequence[NodeLike], node: NodeLike) -> str:
    """Describe a node of a tree in words."""
    name = f"{node.token}, {node.side} position {node.position}"
    if node.parent is None:
        return f"{name}: the root"
    site = site_label(node.layer, node.attention_type)
    return (
        f"{name}: read by {nodes[node.parent].token} in {site}, "
        f"attribution {node.value:.3g}, {node.share:.0%} of the layer's largest"
    )


def _as_row(nodes: Sequence[NodeLike], node: NodeLike) -> dict[str, Any]:
    above = None if node.parent is None else nodes[node.parent]
    return {
        "token": node.token,
        "position": node.position,
        "side": node.side,
        "read_by": above and above.token,
        "read_by_position": above and above.position,
        "layer": node.layer,
        "attention_type": node.attention_type,
        "attribution": node.value,
        "share": node.share,
    }


def _draw(shown: TreeLike, title: str, about: str) -> str:
    nodes = shown.nodes
    rows = _rows(shown)
    columns, headings, width = _columns(nodes)
    body = [
        f'<text class="quiet" x="{x:.1f}" y="18" fill="{LIGHT.muted}" font-size="11">{name}</text>'
        for x, name in headings
    ]
    places = [(columns[node.site], rows[i]) for i, node in enumerate(nodes)]
    for i, node in enumerate(nodes):
        if node.parent is not None:
            x, y = places[node.parent]
            start = (x + _width(nodes[node.parent].token), y)
            body.append(_edge(start, places[i], node.share or 0))
    body += [_node(nodes, node, *place) for node, place in zip(nodes, places, strict=True)]
    size = (width, max(rows) + _ROW)
    return document("tree", title=title, description=about, size=size, body=body, role="group")


def _rows(shown: TreeLike) -> list[float]:
    """The y coordinate of every node: leaves in sequence, parents centred on their children."""
    rows = [0.0] * len(shown.nodes)
    leaves = 0

    def visit(node: int) -> None:
        nonlocal leaves
        below = shown.children(node)
        for child in below:
            visit(child)
        if below:
            rows[node] = (rows[below[0]] + rows[below[-1]]) / 2
        else:
            rows[node] = _TOP + _ROW * leaves
            leaves += 1

    visit(0)
    return rows


def _columns(
    nodes: Sequence[NodeLike],
) -> tuple[dict[int | None, float], list[tuple[float, str]], float]:
    """Left edge of each column by site, left edge and heading of each, and the total width."""
    widest: dict[int | None, float] = {}
    names: dict[int | None, str] = {}
    for node in nodes:
        label = "root" if node.site is None else site_label(node.layer, node.attention_type)
        names[node.site] = escape(label)
        widest[node.site] = max(widest.get(node.site, 0), _width(node.token), _width(label))
    left, columns = 16.0, {}
    for site, width in widest.items():
        columns[site] = left
        left += width + _GAP
    return columns, [(x, names[site]) for site, x in columns.items()], left


def _edge(start: tuple[float, float], end: tuple[float, float], share: float) -> str:
    (x1, y1), (x2, y2) = start, (end[0] - _DOT, end[1])
    middle = (x1 + x2) / 2
    return (
        f'<path d="M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f}'
        f' {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" fill="none" {coloured(share, "stroke")}'
        f' stroke-width="{1 + 3 * share:.2f}" stroke-opacity="{0.4 + 0.5 * share:.2f}"/>'
    )


def _node(nodes: Sequence[NodeLike], node: NodeLike, x: float, y: float) -> str:
    words, name = safe(describe_node(nodes, node)), _short(node.token)
    place = f'x="{x + 2 * _DOT:.1f}" y="{y + 4.5:.1f}" font-size="{_SIZE}"'
    return (
        f'<g class="tree-node" tabindex="0" role="img" aria-label="{words}"><title>{words}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>'
        f"{outline(place, name)}{letters(place, name)}</g>"
    )


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…"


def _width(token: str) -> float:
    """The width of a label, including its dot and a margin."""
    return text_width(_short(token), _SIZE) + 4 * _DOT
