"""Models to choose from: those of earlier jobs, and those in the allowed folders."""

from __future__ import annotations

from db.reads import job_list
from jobs.inputs.folders import list_models
from webui.context import database, settings

RECENT = 50
"""Jobs whose models are offered."""


def known_models() -> list[str]:
    """The models of the newest jobs, then those in the allowed folders."""
    used = [job.spec["model"]["name"] for job in job_list.list_jobs(database(), limit=RECENT)]
    return [name for name in dict.fromkeys([*used, *list_models(settings())]) if name]
