"""Names and addresses of attention heads on the pages."""

from __future__ import annotations

from typing import Any

from db.reads.results import Site

SHOWN = 20
"""Rows of a table of heads before 'Show all'."""


def url_values(site: Site, head: int) -> dict[str, Any]:
    """Arguments of a head's address; the usual type of attention is left out."""
    values: dict[str, Any] = {"layer": site.layer, "head": head}
    return (
        values
        if site.attention_type == "encoder"
        else {**values, "attention_type": site.attention_type}
    )


def site_name(site: Site) -> str:
    """Row label of a heat map."""
    return (
        f"L{site.layer}"
        if site.attention_type == "encoder"
        else f"{site.attention_type} L{site.layer}"
    )
