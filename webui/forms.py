"""The form of each kind of job: its own fields, and how they become a specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.kinds import attack_form


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


def _read_pruning(values: Mapping[str, str]) -> dict[str, Any]:
    def listed(name: str) -> list[str]:
        return [part.strip() for part in values.get(name, "").split(",") if part.strip()]

    chosen = [name.split(".", 2) for name, value in values.items() if value and name[:3] == "by."]
    return {
        "sources": [{"job": part[1], "source": part[-1]} for part in chosen],
        "shares": listed("shares") or None,
        "directions": listed("directions"),
        "within_layer": listed("within_layer"),
        "allow_overlap": bool(values.get("allow_overlap")),
    }


def _show_pruning(spec: dict[str, Any]) -> dict[str, str]:
    lists = {
        name: ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in found)
        for name in ("shares", "directions", "within_layer")
        if (found := spec.get(name))
    }
    sources = spec.get("sources", ())
    return {
        **lists,
        **{f"by.{one['job']}.{one.get('source', 'attattr')}": "on" for one in sources},
        "allow_overlap": "on" if spec.get("allow_overlap") else "",
    }


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
    "pruning": Form(
        title="Pruning",
        lead="What the model keeps of its accuracy as heads are removed in the order of their "
        "importance, and which can go.",
        fields=("random", "seed", "steps", "within", "preset"),
        defaults={"random": "3", "seed": "0", "steps": "10", "directions": "least, most"},
        read=_read_pruning,
        show=_show_pruning,
        others=("sources", "shares", "directions", "within_layer", "allow_overlap"),
    ),
    "attack": Form(
        title="Attack",
        lead="What happens to the predictions of your texts when the tokens that an attribution "
        "found are put into them, against controls.",
        fields=("triggers_from", "insertion", "segments"),
        defaults=attack_form.DEFAULTS,
        read=attack_form.read,
        show=attack_form.show,
        others=attack_form.OTHERS,
    ),
}
"""Forms by the kind of job, in the order in which they are offered."""
