"""Jobs or studies of a server, compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headwise.client.connection import Connection
from headwise.client.figures import drawn, listed
from headwise.figures import Figure

if TYPE_CHECKING:
    import pandas as pd


class Comparison:
    """Two to eight jobs, or two studies, side by side, as the server described them."""

    def __init__(self, connection: Connection, numbers: Sequence[int], *, studies: bool) -> None:
        self._connection = connection
        names = ["a", "b"] if studies else ["jobs"]
        values = list(map(str, numbers)) if studies else [",".join(map(str, numbers))]
        if len(names) != len(values):
            raise ValueError(f"two studies are compared, not {len(values)}")
        self._query = dict(zip(names, values, strict=True))
        self._path = "/studies/compare" if studies else "/compare"
        self.facts: dict[str, Any] = connection.json("GET", self._path, query=self._query)
        """Everything that the API says of it."""

    @property
    def warnings(self) -> list[str]:
        """Reasons why numbers are not comparable: other tasks, labels or data."""
        return list(self.facts["warnings"])

    def differences(self) -> pd.DataFrame:
        """The fields of the specifications that differ, a column for each side."""
        import pandas as pd

        found = self.facts["differences"]
        sides = [
            f"job {one['job']}" if one["job"] else f"study {one['study']}"
            for one in self.facts["sides"]
        ]
        return pd.DataFrame(
            [one["values"] for one in found], columns=sides, index=[one["field"] for one in found]
        )

    def sides(self) -> pd.DataFrame:
        """Model, data, accuracy with its interval, and completeness of each side."""
        import pandas as pd

        return pd.DataFrame(self.facts["sides"])

    def figures(self) -> pd.DataFrame:
        """The figures that it has: names, titles, and what can be chosen of each."""
        return listed(self.facts["figures"])

    def figure(self, kind: str, **choices: Any) -> Figure:
        """A figure, which a notebook displays and `save` writes to a file.

        kind: one of `figures`, such as "heads" or "ranks"
        choices: such as `source="attattr"`; by default the first of each

        Raises NotFoundError for an unknown figure and without results, RefusedError for a choice
        that it does not have.
        """
        return drawn(self._connection, f"{self._path}/figures/{kind}", {**choices, **self._query})
