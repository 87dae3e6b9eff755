"""An example's attribution tree: drawn on its page, and as SVG and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, request

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.results import Example, Site, read_interactions
from headwise.naming import site_label
from headwise.trees import FLOOR, RULES, TAU, TAU_LAST, Interactions, Tree, build
from jobs.errors import NotFoundError, refuse
from webui.context import attachment, database
from webui.pages import words

SHARES = tuple(step / 10 for step in range(11))
"""Thresholds that the form offers."""
ROOTS = {
    "outgoing": "most outgoing attribution, as the paper's code",
    "classifier": "the classifier's token",
}
"""The rules in words."""
ROOT = "outgoing"
"""The rule where none is asked for: that of the paper's code, which leaves the last layer out.
There the classifier's token reads nearly every other one, and the tree would be a star."""

blueprint = Blueprint("trees", __name__)


@blueprint.get(
    "/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>/tree.<form>"
)
def export(job_id: int, example_no: int, form: str) -> Response:
    """The tree as a file: `svg` or `json`; root, tau and tau_last as on the page."""
    if form not in ("svg", "json"):
        raise NotFoundError(f"There is no tree.{form[:20]}. Known: tree.svg, tree.json.")
    tree = stored_tree(job_id, example_no, as_written=form == "svg")
    name = f"headwise-job-{job_id}-example-{example_no}-tree.{form}"
    if form == "svg":
        return attachment(tree.to_svg(), "image/svg+xml", name)
    return attachment(tree.to_json(), "application/json", name)


def stored_tree(job_id: int, example_no: int, *, as_written: bool) -> Tree:
    """The tree that the query string asks for; its tokens as the text has them, or as they are.

    Raises NotFoundError where the job stored none.
    """
    opened = database()
    job_reads.get_job(opened, job_id)
    found = results.get_example(opened, job_id, example_no)
    stored = read_interactions(opened, job_id, example_no)
    if stored is None:
        raise NotFoundError(f"Job {job_id} has no tree of example {example_no}.")
    names = _names(found, stored) if as_written else found.tokens or _numbers(stored)
    return _tree(names, results.list_sites(opened, job_id), stored)


def section(job_id: int, found: Example, sites: Sequence[Site]) -> dict[str, Any] | None:
    """The tree's values on the example's page; None if the job stored none."""
    stored = read_interactions(database(), job_id, found.example)
    if stored is None:
        return None
    names = _names(found, stored)
    tree = _tree(names, sites, stored)
    return {
        "svg": tree.to_svg(),
        "nodes": [
            {
                "node": node,
                "parent": None if node.parent is None else tree.nodes[node.parent],
                "layer": "" if node.parent is None else site_label(node.layer, node.attention_type),
            }
            for node in tree.nodes
        ],
        "roots": [*ROOTS.items(), *((str(i), f"{i}: {name}") for i, name in enumerate(names))],
        "values": {"root": str(tree.root), "tau": tree.tau, "tau_last": tree.tau_last},
        "taus": sorted({tree.tau, *(share for share in SHARES if share >= FLOOR)}),
        "taus_last": sorted({tree.tau_last, *SHARES}),
    }


def _tree(names: Sequence[str], sites: Sequence[Site], stored: Interactions) -> Tree:
    return build(
        stored,
        sites,
        names,
        root=_root(stored.length),
        tau=_share("tau", TAU, stored.floor),
        tau_last=_share("tau_last", TAU_LAST, 0.0),
    )


def _names(found: Example, stored: Interactions) -> tuple[str, ...]:
    """The tokens as they were written."""
    pieces = words.read_pieces(found.tokens or _numbers(stored), found.texts, found.words)
    return tuple(piece.text for piece in pieces)


def _numbers(stored: Interactions) -> tuple[str, ...]:
    return tuple(f"#{position}" for position in range(stored.length))


def _root(length: int) -> str | int:
    raw = request.args.get("root", "").strip()
    if not raw or raw in RULES:
        return raw or ROOT
    position = int(raw) if raw.isdecimal() and len(raw) < 9 else length
    if position < length:
        return position
    known = f"{', '.join(RULES)} or a position below {length}"
    raise refuse("root", raw, "is neither a rule nor a token", f"Use {known}.")


def _share(name: str, default: float, low: float) -> float:
    raw = request.args.get(name, "").strip()
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not low <= value <= 1:
        raise refuse(name, raw, f"must be a number from {low:g} to 1", f"Default: {default:g}.")
    return value
