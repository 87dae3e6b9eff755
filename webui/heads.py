"""Names and addresses of attention heads on the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.reads.results import Site
from headwise.naming import site_label

SHOWN = 20
"""Rows of a table of heads before 'Show all'."""


def url_values(site: Site, head: int) -> dict[str, Any]:
    """Arguments of a head's address."""
    place = {"layer": site.layer, "head": head, "attention_type": site.attention_type}
    return place_values(place)


def place_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a row that names a head; the usual type of attention is left out."""
    values: dict[str, Any] = {"layer": row["layer"], "head": row["head"]}
    attention_type = row["attention_type"]
    return values if attention_type == "encoder" else {**values, "attention_type": attention_type}


def site_name(site: Site) -> str:
    """Row label of a heat map."""
    return site_label(site.layer, site.attention_type)
