"""The pages and forms of each kind of job."""

from __future__ import annotations

from jobs.kinds import modules
from webui.kinds.base import KindPage

PAGES: dict[str, KindPage] = {name: module.PAGE for name, module in modules(__name__).items()}
