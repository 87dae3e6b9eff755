"""Ready-made submissions: where a new user starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.settings import Settings

DEMO_MODEL = Path("models/demo-nli")
DEMO_DATA = Path("demo/pairs.jsonl")
DEMO = "Demo: natural language inference"


def presets(settings: Settings) -> dict[str, dict[str, Any]]:
    """Raw submissions by title; the demo once its model and data are in the data folder."""
    demo_model, demo_data = settings.home / DEMO_MODEL, settings.home / DEMO_DATA
    model = {"name": str(demo_model) if demo_model.is_dir() else ""}
    data: dict[str, Any] = {
        "path": str(demo_data) if demo_data.is_file() else "",
        "text_columns": ["premise", "hypothesis"],
        "label_column": "label",
    }
    found: dict[str, dict[str, Any]] = {}
    if demo_model.is_dir() and demo_data.is_file():
        found[DEMO] = {
            "name": "demo",
            "spec": {"model": model, "data": data, "rtol": 1e-2},
        }
    return found | {
        "Precise: adaptive points, tolerance 0.001": {
            "spec": {"model": model, "data": data, "rtol": 1e-3},
        },
        "Quick look: 100 random examples, tolerance 0.01": {
            "spec": {"model": model, "data": {**data, "sample": 100}, "rtol": 1e-2},
        },
        "As the paper's scores: 64 left Riemann points": {
            "spec": {"model": model, "data": data, "integration": "left-riemann:64"},
        },
        "As the paper's pruning: gold label, 20 left Riemann points, 200 examples": {
            "spec": {
                "model": model,
                "data": {**data, "limit": 200},
                "target": "gold",
                "integration": "left-riemann:20",
            },
        },
        "Taylor expansion: one forward and one backward pass per example": {
            "spec": {"kind": "importance", "method": "taylor", "model": model, "data": data},
        },
        "Leave one head out: loss and accuracy without each head": {
            "spec": {"kind": "importance", "method": "leave-one-out", "model": model, "data": data},
        },
    }
