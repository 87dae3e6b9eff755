"""Queries, and their results."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from webui.contract.models import Answer

Cell = bool | int | float | str | None


class SqlBody(BaseModel):
    """A query on the published views."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "SELECT layer, head, mean FROM head_importance WHERE job_id = 7"}
            ]
        },
    )

    query: str = Field(min_length=1, max_length=100_000, description="One SELECT statement.")
    max_rows: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most rows; at most and by default HEADWISE_SQL_ROWS. CSV has all rows.",
    )


class SqlAnswer(Answer):
    """The rows of a query."""

    columns: list[str]
    rows: list[list[Cell]]
    """Bytes are hexadecimal text."""
    cut_by: Literal["rows", "bytes"] | None
    """The limit that left rows out; null if all are here."""
    seconds: float
    """Duration of the query."""
    types: list[Literal["integer", "real", "text", "boolean", "bytes", "null"]]
    """Of each column what its values are."""


class SqlPlanAnswer(Answer):
    """The way in which the database would answer a query."""

    plan: str
    """A step of the plan in each line, in the database's own words."""
