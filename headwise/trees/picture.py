"""A tree as SVG that needs nothing else: the root at the left, one column for each site below it.

Colours are attributes, which a page's style sheet may replace by its own (classes ``tree-page``,
``tree-edge``, ``tree-node``, ``tree-site``); as a file of its own the picture has a white ground.
Every node can be reached by the keyboard and says in words what is drawn.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwise.trees.build import Node, Tree

_ROW, _TOP, _LETTER, _GAP, _DOT = 26, 40, 7.6, 46, 4
_LONGEST = 24  # letters of a label; the whole token is in its description

_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" class="tree" role="group" \
viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="system-ui, sans-serif" font-size="13" fill="#1c2026" aria-label="{title}">
<title>{title}</title>
<desc>{about}</desc>
<rect class="tree-page" width="100%" height="100%" fill="#ffffff"/>
{body}
</svg>
"""


def draw(tree: Tree) -> str:
    """The picture as text; tokens are escaped, and cut where they are long."""
    rows = _rows(tree)
    columns, headings, width = _columns(tree)
    body = [
        f'<text class="tree-site" x="{x:.1f}" y="18" fill="#59616b" font-size="11">{name}</text>'
        for x, name in headings
    ]
    places = [(columns[node.site], rows[i]) for i, node in enumerate(tree.nodes)]
    for i, node in enumerate(tree.nodes):
        if node.parent is not None:
            x, y = places[node.parent]
            start = (x + _width(tree.nodes[node.parent].token), y)
            body.append(_edge(start, places[i], node.share or 0))
    body += [_node(tree, node, *place) for node, place in zip(tree.nodes, places, strict=True)]
    title = f"Attribution tree of {len(tree.nodes)} tokens, root {tree.nodes[0].token}"
    about = (
        f"Each token is read by the one at its left, in the layer above it. Threshold {tree.tau:g}"
        f" of the layer's largest attribution, {tree.tau_last:g} in the last layer."
    )
    height = max(rows) + _ROW
    return _PICTURE.format(
        width=width, height=height, title=_safe(title), about=_safe(about), body="\n".join(body)
    )


def site_label(layer: int | None, kind: str | None) -> str:
    """A site in a few letters; the usual kind is left out."""
    return f"L{layer}" if kind == "encoder" else f"{kind} L{layer}"


def describe(tree: Tree, node: Node) -> str:
    """What is drawn of a node, in words."""
    name = f"{node.token}, {node.side} position {node.position}"
    if node.parent is None:
        return f"{name}: the root"
    return (
        f"{name}: read by {tree.nodes[node.parent].token} in {site_label(node.layer, node.kind)}, "
        f"attribution {node.value:.3g}, {node.share:.0%} of the layer's largest"
    )


def _rows(tree: Tree) -> list[float]:
    """Middle of every node's line: leaves one below the other, a parent amid its children."""
    rows = [0.0] * len(tree.nodes)
    leaves = 0

    def visit(node: int) -> None:
        nonlocal leaves
        children = tree.children(node)
        for child in children:
            visit(child)
        if children:
            rows[node] = (rows[children[0]] + rows[children[-1]]) / 2
        else:
            rows[node] = _TOP + _ROW * leaves
            leaves += 1

    visit(0)
    return rows


def _columns(tree: Tree) -> tuple[dict[int | None, float], list[tuple[float, str]], float]:
    """Left edge of every site's column and its heading, by node.site, and the whole width."""
    widest: dict[int | None, float] = {}
    names: dict[int | None, str] = {}
    for node in tree.nodes:
        label = "root" if node.site is None else site_label(node.layer, node.kind)
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
        f'<path class="tree-edge" d="M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f}'
        f' {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" fill="none" stroke="#2563eb"'
        f' stroke-width="{1 + 3 * share:.2f}" stroke-opacity="{0.4 + 0.5 * share:.2f}"/>'
    )


def _node(tree: Tree, node: Node, x: float, y: float) -> str:
    words = _safe(describe(tree, node))
    return (
        f'<g class="tree-node" tabindex="0" role="img" aria-label="{words}"><title>{words}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>'
        f'<text x="{x + 2 * _DOT:.1f}" y="{y + 4.5:.1f}" stroke="#ffffff" stroke-width="3"'
        f' paint-order="stroke">{_safe(_short(node.token))}</text></g>'
    )


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…"


def _width(token: str) -> float:
    """About how wide a label is drawn, its dot and a margin included."""
    letters = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in _short(token))
    return _LETTER * letters + 3 * _DOT


def _safe(text: str) -> str:
    """Escaped, and without the characters that XML cannot hold."""
    shown = (c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return escape("".join(shown))
