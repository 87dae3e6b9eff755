"""Queries for attribution trees."""

from __future__ import annotations

from db.database import Database
from headwise.trees import Interactions

INTERACTIONS = """
SELECT interactions FROM example_result WHERE job_id = :job_id AND example_no = :example
"""


def read_interactions(database: Database, job_id: int, example: int) -> Interactions | None:
    """Read the example's strongest cells; None if it failed or its job stored none."""
    stored = database.value(INTERACTIONS, job_id=job_id, example=example)
    return None if stored is None else Interactions.from_json(stored)
