"""Short names of the models and data of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.inputs.data.uploads import original_name

LONGEST = 100
"""Characters of a name that lists sort by."""
OWN_TEXTS = "own texts"
"""The data of a job whose texts came with its submission."""


def model_name(spec: Mapping[str, Any]) -> str:
    """The last part of the path or hub name of a specification's model."""
    return _last((spec.get("model") or {}).get("name") or "")


def data_name(spec: Mapping[str, Any]) -> str:
    """The last part of the path or hub name of a specification's data."""
    data = spec.get("data") or {}
    if data.get("inline"):
        return OWN_TEXTS
    path = data.get("path") or data.get("dataset") or ""
    return original_name(path) or _last(path)


def _last(path: str) -> str:
    return (path.rstrip("/").rsplit("/", 1)[-1] or path)[:LONGEST]
