"""Figures of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwise.client.connection import Connection
from headwise.figures import Figure, VegaFigure
from headwise.figures.sentence import SentenceFigure

if TYPE_CHECKING:
    import pandas as pd


def listed(figures: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Figures as rows: name, title, and what can be chosen."""
    import pandas as pd

    return pd.DataFrame(figures, columns=["name", "title", "choices"])


def drawn(connection: Connection, path: str, query: Mapping[str, Any]) -> Figure:
    """The figure at a path; a name that Python keeps for itself is written with an underscore."""
    named = {name.rstrip("_"): value for name, value in query.items()}
    found = connection.json("GET", path, query={**named, "format": "json"})
    return SentenceFigure.from_json(found) if "svg" in found else VegaFigure.from_spec(found)
