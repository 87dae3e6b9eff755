"""Names of layers and heads, the same everywhere: `L3 H7`."""

from __future__ import annotations


def site_label(layer: int | None, attention_type: str | None = "encoder") -> str:
    """A short label of a site; the type of attention is omitted for encoders."""
    return f"L{layer}" if attention_type == "encoder" else f"{attention_type} L{layer}"


def head_name(layer: int, head: int, attention_type: str = "encoder") -> str:
    """The name of a head: `L3 H7`; other types of attention are named: `cross L3 H7`."""
    return f"{site_label(layer, attention_type)} H{head}"
