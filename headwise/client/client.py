"""The client: submissions, jobs, studies and SQL of one server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headwise.client.comparison import Comparison
from headwise.client.connection import Connection
from headwise.client.errors import Problem
from headwise.client.given import address_fault, token_fault
from headwise.client.job import Job
from headwise.client.tables import INLINE, Data, columns_of, json_lines, parquet, rows_of
from headwise.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

TOKEN = "HEADWISE_TOKEN"  # noqa: S105 - the variable's name


class Client:
    """A Headwise server.

    client = headwise.Client("https://headwise.example.org", token="...")
    job = client.submit("org/classifier", ["so it is"]).wait()
    job.heads()

    address: of the dashboard
    token: a personal token; by default the variable HEADWISE_TOKEN
    timeout: seconds to wait for an answer

    Raises OptionError for what is no address, or no token.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8600",
        token: str | None = None,
        *,
        timeout: float = 60.0,
    ) -> None:
        place, secret = str(address), (token or os.environ.get(TOKEN) or "")
        _refuse(address_fault("address", place) or token_fault("token", secret))
        self._connection = Connection(place.strip(), secret.strip(), timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self._connection.close()

    def submit(
        self,
        model: str | Path,
        data: Data,
        *,
        texts: Sequence[str] = (),
        label: str | None = None,
        select: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Job:
        """Submit a job; the same work that is there already is taken instead.

        model: a folder on the server, or a name on the hub; a Path is a folder of this machine,
            which the server must be able to read in the same place
        data: a path on the server as text, a local file as Path, texts (a list or a column), a list
            of rows, or a data frame of pandas, polars or Arrow; what is not on the server is
            uploaded
        texts: columns of the text, or of a pair; by default the only column, or `text`
        label: column of the labels
        select: other keys of the data, such as the rows to take: `{"sample": 500, "seed": 1}`
        keys: everything else of a submission (`name="mine"`, `notify=["team"]`) or of its
            specification (`kind="importance"`, `rtol=1e-2`); docs/reference/jobs.md lists them

        Raises RefusedError with the server's problems.
        """
        raw = self._submission(model, data, _source(texts, label, select), keys)
        return self._job(self._connection.json("POST", "/jobs", body=raw)["job"])

    def check(
        self,
        model: str | Path,
        data: Data,
        *,
        texts: Sequence[str] = (),
        label: str | None = None,
        select: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> dict[str, Any]:
        """Check a submission as `submit` does: how it is understood, examples, shards and time."""
        raw = self._submission(model, data, _source(texts, label, select), keys)
        found: dict[str, Any] = self._connection.json("POST", "/check", body=raw)
        return found

    def submit_raw(self, submission: Mapping[str, Any]) -> Job:
        """Submit a job as the API takes it: docs/reference/jobs.md."""
        return self._job(self._connection.json("POST", "/jobs", body=submission)["job"])

    def job(self, number: int) -> Job:
        """Get a job. Raises NotFoundError."""
        return self._job(self._connection.json("GET", f"/jobs/{number}"))

    def jobs(self, *, state: str | None = None, search: str | None = None) -> Iterator[Job]:
        """Jobs, newest first; more are asked for while you go on."""
        query = {"state": state, "q": search, "limit": 100}
        yield from map(self._job, self._connection.rows("/jobs", "jobs", query))

    def study(self, number: int) -> dict[str, Any]:
        """A study: its state, its jobs by step, and what they found. Raises NotFoundError."""
        found: dict[str, Any] = self._connection.json("GET", f"/studies/{number}")
        return found

    def submit_study(self, study: Mapping[str, Any]) -> dict[str, Any]:
        """Submit a study as the API takes it: docs/howto/studies.md."""
        found: dict[str, Any] = self._connection.json("POST", "/studies", body=study)
        return found

    def compare(self, *numbers: int, studies: bool = False) -> Comparison:
        """Compare two to eight jobs, or two studies.

        numbers: of the jobs or studies

        Raises RefusedError where they have nothing to compare, NotFoundError for one that does
        not exist, ValueError unless there are two studies.
        """
        return Comparison(self._connection, numbers, studies=studies)

    def workers(self) -> pd.DataFrame:
        """The workers as last heard of."""
        import pandas as pd

        return pd.DataFrame(self._connection.rows("/workers", "workers", {}))

    def sql(self, query: str, *, max_rows: int | None = None) -> pd.DataFrame:
        """The rows of a query on the published views; `attrs["cut_by"]` names a limit that was met.

        max_rows: most rows, within the server's HEADWISE_SQL_ROWS
        """
        import pandas as pd

        body = {"query": query, "max_rows": max_rows}
        found = self._connection.json("POST", "/sql", body=body)
        frame = pd.DataFrame(found["rows"], columns=found["columns"])
        frame.attrs["cut_by"] = found["cut_by"]
        return frame

    def upload(self, name: str, content: bytes) -> str:
        """Store a data file on the server, where it stays while jobs need it; returns its path."""
        stored = self._connection.json("POST", "/uploads", files={"file": (name, content)})
        return str(stored["path"])

    def _job(self, facts: dict[str, Any]) -> Job:
        return Job(self._connection, facts)

    def _submission(
        self,
        model: str | Path,
        data: Data,
        source: dict[str, Any],
        keys: dict[str, Any],
    ) -> dict[str, Any]:
        """The submission as the API takes it, its data on the server."""
        beside = {name: keys.pop(name) for name in _BESIDE & keys.keys()}
        rows = rows_of(data)
        lines = None if rows is None else json_lines(rows)
        if rows is not None and len(rows) <= INLINE:
            source |= {"inline": True}
            beside["rows"] = rows
        elif isinstance(data, str):
            source["path"] = data
        else:
            source["path"] = self._upload(data, lines)
        if "text_columns" not in source:
            source["text_columns"] = _guessed(data, rows, source.get("label_column"))
        return {
            "spec": {
                **keys,
                "model": {"name": str(model.absolute() if isinstance(model, Path) else model)},
                "data": source,
            },
            **beside,
        }

    def _upload(self, data: Any, lines: bytes | None) -> str:
        if lines is not None:
            return self.upload("rows.jsonl", lines)
        if isinstance(data, Path):
            return self.upload(data.name, data.read_bytes())
        return self.upload("frame.parquet", parquet(data))


def _refuse(fault: Problem | None) -> None:
    if fault is not None:
        raise OptionError(str(fault))


_BESIDE = frozenset(
    {"name", "priority", "queue", "notify", "deadline", "again", "keep_days", "keep_details_days"}
)
"""Keys of a submission beside its specification."""


def _source(
    texts: Sequence[str], label: str | None, select: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The keys of a specification's data that were given."""
    columns = {"text_columns": list(texts), "label_column": label}
    return {**{key: value for key, value in columns.items() if value}, **(select or {})}


def _guessed(data: Any, rows: list[dict[str, Any]] | None, label: str | None) -> list[str]:
    """The only column besides the label, else `text`: the server says what it does not find."""
    known = list(rows[0]) if rows else columns_of(data)
    others = [column for column in known if column != label]
    return others if len(others) == 1 else ["text"]
