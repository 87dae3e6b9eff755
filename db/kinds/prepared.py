"""What planning adds to a job besides its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from db.queue.examples import ExampleRow


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Computed outside of any write transaction, written with the shards."""

    rows: Mapping[Table, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows without their `job_id`, by table."""
    examples: Sequence[ExampleRow] | None = None
    """Examples that replace the job's."""
    cost: float | None = None
    """Work per example, where it is known only now."""
    rows_per_example: int | None = None
    """Rows of the kind's largest table per example, where they are not one per head."""
