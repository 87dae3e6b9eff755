"""Data files of every format, and the part of a specification that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.settings import Settings
from jobs.specs.base import DataSpec

SUFFIXES = ("jsonl", "csv", "tsv", "parquet")


def spec_of(path: Path | str, **changes: Any) -> DataSpec:
    return DataSpec.model_validate({"path": str(path), "text_columns": ["text"], **changes})


def written(settings: Settings, name: str, content: bytes | str) -> Path:
    path = settings.home / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table_file(settings: Settings, suffix: str, rows: list[dict[str, Any]]) -> Path:
    path = settings.home / f"data.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "\t" if suffix == "tsv" else ","
        lines = [separator.join(str(row[key]) for key in rows[0]) for row in rows]
        path.write_text("\n".join([separator.join(rows[0]), *lines]) + "\n")
    return path
