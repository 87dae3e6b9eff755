"""Toy jobs: their form, and their section of a job's page."""

from __future__ import annotations

from flask import Blueprint

from webui.kinds import importance
from webui.kinds.base import KindPage

PAGE = KindPage(
    title="Toy",
    lead="Heads ranked by the number of words.",
    labels={"scale": "Scale", "order": "Largest values"},
    section=importance.section,
    anchors=("heads",),
    exports=("importances", "examples", "shards", "attempts"),
    question="SELECT rank, layer, head, mean\nFROM importances\nWHERE job_id = %d\nORDER BY rank",
    # Only because the templates are not among the others.
    blueprint=Blueprint("toy", __name__, template_folder="templates"),
)
