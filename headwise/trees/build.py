"""Building the attribution tree of one example.

Hao, Dong, Wei, Xu, "Self-Attention Attribution", AAAI 2021, Algorithm 1: a greedy search for few
edges that hold much attribution. Attr is summed over the heads of each layer; cells above tau times
the maximum of the layer are edges, from the token that reads (the query) to the token that is read
(the key). From the last layer down, a token joins the tree at the first layer in which a token of
the tree reads it.

If several tokens of the tree read it in that layer, the strongest edge counts; among equal ones,
that of the token that joined first. (The paper leaves this to the order in which edges are listed.)
A token that joins in a layer reads in the layers below only, where its information comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwise.trees.cells import Interactions, SiteCells, SiteLike, is_last, side_of
from headwise.trees.nodes import Node
from headwise.trees.tree import ROOT, RULES, Tree

TAU, TAU_LAST = 0.4, 0.0
"""Thresholds of the paper, for all layers but the last and for the last."""


def build(
    found: Interactions,
    sites: Sequence[SiteLike],
    tokens: Sequence[str],
    *,
    root: str | int = ROOT,
    tau: float = TAU,
    tau_last: float = TAU_LAST,
) -> Tree:
    """Build a tree by Algorithm 1, down the sites of all types of attention.

    In an encoder-decoder model the root is a token of the decoder, cross-attention leads to the
    tokens of the encoder, and a token may join once on either side.

    root: ``outgoing``, the rule of the paper's code: the token with the most outgoing attribution,
        without the last layer and without edges from the classifier token; ``classifier``, the
        token that the classifier reads, [CLS] in the paper; or a position
    tau, tau_last: edges are cells above this share of the maximum of their site; ``tau_last``
        applies to the last layer

    Raises ValueError for an unknown root, or a threshold below the cells that were kept.
    """
    check(found, root, tau, tau_last)
    position = root if isinstance(root, int) else getattr(found, root)
    side = side_of(sites[-1])
    nodes = [Node(token=tokens[position], position=position, side=side)]
    joined = {(side, position): 0}
    for s in reversed(range(len(sites))):
        cells, last = found.sites[s], is_last(sites[s], sites)
        if root == "outgoing" and last:
            continue
        largest = cells.largest_other if root == "outgoing" else cells.largest
        hidden = found.classifier if root == "outgoing" else None
        threshold = (tau_last if last else tau) * largest
        edges = _joining(sites[s], cells, joined, threshold, hidden)
        for (key_side, key), (value, parent) in edges:
            joined[key_side, key] = len(nodes)
            nodes.append(
                Node(
                    token=tokens[key],
                    position=key,
                    side=key_side,
                    parent=parent,
                    site=s,
                    layer=sites[s].layer,
                    attention_type=sites[s].attention_type,
                    value=value,
                    share=value / largest,
                )
            )
    return Tree(root=root, tau=tau, tau_last=tau_last, nodes=tuple(nodes))


def check(found: Interactions, root: str | int, tau: float, tau_last: float) -> None:
    """Raise ValueError for bad arguments, as ``build`` does."""
    if isinstance(root, int):
        if not 0 <= root < found.length:
            raise ValueError(f"root {root} is not a position in a text of {found.length} tokens")
    elif root not in RULES:
        raise ValueError(f"root {root!r} is unknown; use {', '.join(RULES)} or a position")
    if not found.floor <= tau <= 1:
        raise ValueError(
            f"tau must be from {found.floor:g}, which is what was kept, to 1, not {tau}"
        )
    if not 0 <= tau_last <= 1:
        raise ValueError(f"tau_last must be from 0 to 1, not {tau_last}")


def _joining(
    site: SiteLike,
    cells: SiteCells,
    joined: Mapping[tuple[str, int], int],
    threshold: float,
    hidden: int | None,
) -> list[tuple[tuple[str, int], tuple[float, int]]]:
    """Tokens that join at a site: (side, key) with (value, parent), by parent and position."""
    key_side = "decoder" if site.attention_type == "decoder" else "encoder"
    best: dict[tuple[str, int], tuple[float, int]] = {}
    for query, key, value in cells.cells:
        parent, child = joined.get((side_of(site), query)), (key_side, key)
        if parent is None or query == hidden or child in joined or not value > threshold:
            continue
        known = best.get(child)
        if known is None or (-value, parent) < (-known[0], known[1]):
            best[child] = (value, parent)
    return sorted(best.items(), key=lambda item: (item[1][1], item[0][1]))
