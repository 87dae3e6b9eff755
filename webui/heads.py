"""Names and addresses of attention heads on the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db.reads.results import Site
from headwise.naming import head_name, site_label
from jobs.errors import NotFoundError

SHOWN = 20
"""Rows of a table of heads before 'Show all'."""


def find_site(
    sites: Sequence[Site], job_id: int, layer: int, head: int, attention_type: str | None = None
) -> Site:
    """The site of a head of a job; encoder attention is meant where a model has it.

    Raises NotFoundError.
    """
    types = [site.attention_type for site in sites] or ["encoder"]
    chosen = attention_type or ("encoder" if "encoder" in types else types[0])
    for site in sites:
        if (site.layer, site.attention_type) == (layer, chosen) and head < site.heads:
            return site
    raise NotFoundError(f"Job {job_id} has no results for head {head_name(layer, head, chosen)}.")


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
