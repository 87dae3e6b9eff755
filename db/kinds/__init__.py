"""The database's part of each kind of job: what is planned, stored and merged."""

from __future__ import annotations

from db.kinds.base import Kind
from jobs.kinds import modules

KINDS: dict[str, Kind] = {name: module.KIND for name, module in modules(__name__).items()}
