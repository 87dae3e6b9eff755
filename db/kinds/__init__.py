"""What each kind of job stores."""

from __future__ import annotations

from db.kinds.base import Kind
from jobs.kinds import modules

KINDS: dict[str, Kind] = {name: module.KIND for name, module in modules(__name__).items()}
