"""Specifications as rows of a table."""

from __future__ import annotations

from typing import Any

from scheduler.specifications import spec_rows

MODEL = {"name": "/models/one", "revision": None}


def rows(**spec: Any) -> dict[str, tuple[str, bool]]:
    """(value, whether it is the default) by key."""
    return {name: (value, default) for name, value, default in spec_rows(spec)}


def test_parts_of_any_kind_s_specification_are_shown() -> None:
    found = rows(
        kind="attack",
        version=1,
        model=MODEL,
        data={"path": "/data/one.csv", "offset": 0, "seed": 3},
        rule={"cells": 4, "one_head": True},
        controls=["random"],
    )
    assert found == {
        "model.name": ("/models/one", False),
        "data.path": ("/data/one.csv", False),
        "data.offset": ("0", True),
        "data.seed": ("3", False),
        "rule.cells": ("4", False),
        "rule.one_head": ("yes", True),
        "controls": ("random", False),
    }


def test_the_kind_of_the_first_version_is_attribution() -> None:
    assert list(rows(model=MODEL, data={"path": "/data/one.csv"})) == ["model.name", "data.path"]
