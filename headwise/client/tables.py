"""Rows on their way to a server and back: files to upload, Arrow streams as data frames."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

if TYPE_CHECKING:
    import pandas as pd

Data: TypeAlias = "str | Path | Sequence[str] | Sequence[Mapping[str, Any]] | pd.DataFrame"
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
    """Texts or rows as objects; None for anything else."""
    if isinstance(data, str | Path) or not isinstance(data, Sequence):
        return None
    if all(isinstance(one, str) for one in data):
        return [{"text": one} for one in data]
    if all(isinstance(one, Mapping) for one in data):
        return [dict(one) for one in data]
    raise TypeError("data is a path, a list of texts, a list of rows, or a data frame")


def json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a data file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
