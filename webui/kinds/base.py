"""The dashboard's part of a kind of job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint

from db.reads.jobs import Job
from webui.accounts.permissions import Rule
from webui.forms.controls import Controls


@dataclass(frozen=True, kw_only=True)
class KindPage:
    """A kind of job on the dashboard; its templates are `new_<kind>.html` and `job_<kind>.html`."""

    title: str
    lead: str
    """A sentence above the form."""
    labels: Mapping[str, str]
    """The names of its own fields on the form; those of all kinds are in `webui.forms.labels`."""
    section: Callable[[Job], dict[str, Any]]
    """Values of `job_<kind>.html`; `sites` is empty until there are results."""
    anchors: tuple[str, ...]
    """Sections of the template that the top of a job's page links to."""
    exports: tuple[str, ...]
    """Published views that can be downloaded for a job."""
    question: str
    """A query for the SQL console, with %d for the number of the job."""
    controls: Mapping[str, Controls] = field(default_factory=dict)
    """Fields of the specification that have controls of their own in the form."""
    own_names: tuple[str, ...] = ()
    """Beginnings of the names of controls whose number is not fixed."""
    blueprint: Blueprint | None = None
    """Further pages and parts of the API."""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """Permissions of the blueprint's endpoints."""
