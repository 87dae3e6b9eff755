"""Rows on their way to a server and back: files to upload, Arrow streams as data frames."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    import pandas as pd


class Frame(Protocol):
    """A data frame of any library that speaks Arrow: pandas, polars, pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Data: TypeAlias = "str | Path | Sequence[str] | Sequence[Mapping[str, Any]] | Frame"
"""A path on the server (text); a local file (Path); texts; rows; or a data frame."""

INLINE = 1_000
"""Most rows that a submission carries itself."""


class Pieces(io.RawIOBase):
    """A file whose content comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """True: the only thing that it can do."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def read_arrow(pieces: Iterator[bytes]) -> pd.DataFrame:
    """A whole Arrow IPC stream as a data frame; what was cut off raises."""
    import pyarrow as pa

    source = cast(BinaryIO, io.BufferedReader(Pieces(pieces), 1 << 20))
    return cast("pd.DataFrame", pa.ipc.open_stream(source).read_pandas())


def rows_of(data: object) -> list[dict[str, Any]] | None:
    """Texts or rows as objects; None for a path and for a data frame. Raises TypeError."""
    as_list = getattr(data, "to_list", None) or getattr(data, "tolist", None)
    if as_list is not None:  # a column of a data frame, or an array
        data = as_list()
    if isinstance(data, str | Path) or not isinstance(data, Sequence):
        return None
    if all(isinstance(one, str) for one in data):
        return [{"text": one} for one in data]
    if all(isinstance(one, Mapping) for one in data):
        return [_without_nan(one) for one in data]
    raise TypeError(_FORMS)


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which a number that is none is missing."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }


_FORMS = (
    "data is a path, a list of texts, a list of rows, or a data frame of pandas, polars or Arrow"
)


def json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a data file. Raises TypeError for one that JSON does not have."""
    lines = []
    for number, row in enumerate(rows):
        try:
            lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        except (TypeError, ValueError) as error:
            raise TypeError(f"row {number} of the data cannot be sent: {error}") from None
    return "".join(lines).encode()


def columns_of(data: object) -> list[str]:
    """The columns of a data frame; none of anything else."""
    # The columns of an Arrow table are arrays; those of others are names.
    attribute = "column_names" if hasattr(data, "column_names") else "columns"
    return [str(name) for name in getattr(data, attribute, ())]


def parquet(data: Any) -> bytes:
    """A data frame as a Parquet file. Raises TypeError for anything else."""
    sink = io.BytesIO()
    if hasattr(data, "to_parquet"):  # pandas, whose index is no column
        data.to_parquet(sink, index=False)
    elif hasattr(data, "write_parquet"):  # polars
        data.write_parquet(sink)
    elif hasattr(data, "__arrow_c_stream__"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(data), sink)
    else:
        raise TypeError(f"{_FORMS}, not {type(data).__name__}")
    return sink.getvalue()
