"""Names of layers and heads, the same everywhere: `L3 H7`."""

from __future__ import annotations

import re


def site_label(layer: int | None, attention_type: str | None = "encoder") -> str:
    """A short label of a site; the type of attention is omitted for encoders."""
    return f"L{layer}" if attention_type == "encoder" else f"{attention_type} L{layer}"


def head_name(layer: int, head: int, attention_type: str = "encoder") -> str:
    """The name of a head: `L3 H7`; other types of attention are named: `cross L3 H7`."""
    return f"{site_label(layer, attention_type)} H{head}"


def read_head_name(name: str) -> tuple[int, int, str] | None:
    """Layer, head and type of attention of a head's name; None for anything else."""
    found = _HEAD_NAME.fullmatch(" ".join(name.split()))
    if found is None:
        return None
    return int(found["layer"]), int(found["head"]), found["attention_type"] or "encoder"


_HEAD_NAME = re.compile(
    r"(?:(?P<attention_type>[a-z]+) )?L(?P<layer>\d{1,4}) H(?P<head>\d{1,4})", re.ASCII
)
