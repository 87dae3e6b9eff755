"""Trees as self-contained SVG: the root at the left, then one column per site.

Colours are attributes, so that the style sheet of a page may override them (classes ``tree-page``,
``tree-edge``, ``tree-node``, ``tree-site``); a standalone file has a white background. Every node
can be reached by keyboard and has a text description.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape

from headwise.figures.palette import LIGHT
from headwise.naming import site_label
from headwise.trees.nodes import Node, children

_ROW, _TOP, _LETTER, _GAP, _DOT = 26, 40, 7.6, 46, 4
_LONGEST = 24  # characters of a label; the description has the whole token

_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" class="tree" role="group" \
viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="system-ui, sans-serif" font-size="13" fill="#1c2026" aria-label="{title}">
<title>{title}</title>
<desc>{about}</desc>
<rect class="tree-page" width="100%" height="100%" fill="#ffffff"/>
{body}
</svg>
"""


def draw(nodes: Sequence[Node], tau: float, tau_last: float) -> str:
    """Draw a tree; tokens are escaped, and long ones truncated.

    nodes: the root first; tau, tau_last: thresholds of the edges, for the description
    """
    rows = _rows(nodes)
    columns, headings, width = _columns(nodes)
    body = [
        f'<text class="tree-site" x="{x:.1f}" y="18" fill="{LIGHT.muted}" font-size="11">'
        f"{name}</text>"
        for x, name in headings
    ]
    places = [(columns[node.site], rows[i]) for i, node in enumerate(nodes)]
    for i, node in enumerate(nodes):
        if node.parent is not None:
            x, y = places[node.parent]
            start = (x + _width(nodes[node.parent].token), y)
            body.append(_edge(start, places[i], node.share or 0))
    body += [_node(nodes, node, *place) for node, place in zip(nodes, places, strict=True)]
    title = f"Attribution tree of {len(nodes)} tokens, root {nodes[0].token}"
    about = (
        f"Each token is read by the one at its left, in the layer above it. Threshold {tau:g}"
        f" of the layer's largest attribution, {tau_last:g} in the last layer."
    )
    height = max(rows) + _ROW
    return _PICTURE.format(
        width=width, height=height, title=_safe(title), about=_safe(about), body="\n".join(body)
    )


def describe(nodes: Sequence[Node], node: Node) -> str:
    """Describe a node of a tree in words."""
    name = f"{node.token}, {node.side} position {node.position}"
    if node.parent is None:
        return f"{name}: the root"
    site = site_label(node.layer, node.attention_type)
    return (
        f"{name}: read by {nodes[node.parent].token} in {site}, "
        f"attribution {node.value:.3g}, {node.share:.0%} of the layer's largest"
    )


def _rows(nodes: Sequence[Node]) -> list[float]:
    """The y coordinate of every node: leaves in sequence, parents centred on their children."""
    rows = [0.0] * len(nodes)
    leaves = 0

    def visit(node: int) -> None:
        nonlocal leaves
        below = children(nodes, node)
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
    nodes: Sequence[Node],
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
        f'<path class="tree-edge" d="M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f}'
        f' {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" fill="none" stroke="{LIGHT.raises}"'
        f' stroke-width="{1 + 3 * share:.2f}" stroke-opacity="{0.4 + 0.5 * share:.2f}"/>'
    )


def _node(nodes: Sequence[Node], node: Node, x: float, y: float) -> str:
    words = _safe(describe(nodes, node))
    return (
        f'<g class="tree-node" tabindex="0" role="img" aria-label="{words}"><title>{words}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>'
        f'<text x="{x + 2 * _DOT:.1f}" y="{y + 4.5:.1f}" stroke="#ffffff" stroke-width="3"'
        f' paint-order="stroke">{_safe(_short(node.token))}</text></g>'
    )


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…"


def _width(token: str) -> float:
    """Approximate width of a label, including its dot and a margin."""
    letters = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in _short(token))
    return _LETTER * letters + 3 * _DOT


def _safe(text: str) -> str:
    """Escape text, and replace the characters that XML does not allow."""
    shown = (c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return escape("".join(shown))
