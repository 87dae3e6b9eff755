"""What an attack's form says beyond fields of the specification's own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULE = ("label", "examples", "cells", "threshold", "ratio", "support")
RULE_FIELDS = ("rule.per_class", "rule.one_head", *(f"rule.{name}" for name in RULE))
CONTROL_FIELDS = ("controls.random", "controls.seed", "controls.attention")
OTHERS = (*RULE_FIELDS, *CONTROL_FIELDS, "given", "models", "outcomes")
DEFAULTS = {
    "rule.per_class": "5",
    "rule.label": "predicted",
    "rule.examples": "500",
    "rule.cells": "2",
    "rule.one_head": "on",
    "rule.threshold": "0.02",
    "rule.ratio": "0.2",
    "rule.support": "1",
    "controls.random": "on",
    "controls.seed": "0",
    "controls.attention": "on",
    "outcomes": "on",
    "insertion": "tokens",
    "segments": "both",
}


def read(values: Mapping[str, str]) -> dict[str, Any]:
    """The fields as keys of a specification."""

    def text(name: str) -> str:
        return values.get(name, "").strip()

    rule: dict[str, Any] = {name: text(f"rule.{name}") for name in RULE if text(f"rule.{name}")}
    rule |= {
        "one_head": bool(text("rule.one_head")),
        "per_class": text("rule.per_class") or None,
    }
    seed = {"seed": text("controls.seed")} if text("controls.seed") else {}
    lines = [line for line in text("given").splitlines() if line.strip()]
    return {
        "rule": rule,
        "controls": {
            "random": bool(text("controls.random")),
            "attention": bool(text("controls.attention")),
            **seed,
        },
        "given": [[part.split() for part in line.split("|")] for line in lines],
        "models": [{"name": name.strip()} for name in text("models").splitlines() if name.strip()],
        "outcomes": bool(text("outcomes")),
    }


def show(spec: dict[str, Any]) -> dict[str, str]:
    """The reverse."""
    found = {
        f"{group}.{name}": _text(value)
        for group in ("rule", "controls")
        for name, value in dict(spec.get(group, {})).items()
    }
    given = (" | ".join(" ".join(part) for part in trigger) for trigger in spec.get("given", ()))
    return {
        **found,
        "given": "\n".join(given),
        "models": "\n".join(model["name"] for model in spec.get("models", ())),
        "outcomes": _text(spec.get("outcomes", True)),
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    return "" if value is None else str(value)
