"""The form of each kind of job: its own fields, and how they become a specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a kind's form has besides model, data, number format, device, priority and name.

    Its fields are in the template `new_<kind>.html`.
    """

    title: str
    lead: str
    fields: tuple[str, ...]
    """Keys of the specification that are a text field or a choice of the same name."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Mapping[str, str]], dict[str, Any]] = lambda _values: {}
    """What other fields say, as keys of the specification."""
    show: Callable[[dict[str, Any]], dict[str, str]] = lambda _spec: {}
    """The reverse: the values of those fields."""
    others: tuple[str, ...] = ()
    """Those keys, whose problems the template shows."""


def _read_attribution(values: Mapping[str, str]) -> dict[str, Any]:
    rule = values.get("rule", "auto")
    integration = rule if rule == "auto" else f"{rule}:{values.get('points', '').strip()}"
    return {"integration": integration}


def _show_attribution(spec: dict[str, Any]) -> dict[str, str]:
    rule, _, points = str(spec.get("integration", "auto")).partition(":")
    return {"rule": rule, **({"points": points} if points else {})}


FORMS: dict[str, Form] = {
    "attribution": Form(
        title="Attribution",
        lead="What every attention head of a classifier contributes to its predictions on your "
        "texts.",
        fields=("target", "output", "rtol", "max_points", "edges"),
        defaults={
            "target": "predicted",
            "output": "probability",
            "rule": "auto",
            "points": "16",
            "rtol": "0.001",
            "max_points": "64",
            "edges": "16",
        },
        read=_read_attribution,
        show=_show_attribution,
        others=("integration",),
    ),
    "importance": Form(
        title="Importance",
        lead="How much each head matters by other means than attribution, to compare with: Taylor "
        "expansion, or leaving one head out.",
        fields=("method",),
        defaults={"method": "taylor"},
    ),
}
"""Forms by the kind of job, in the order in which they are offered."""
