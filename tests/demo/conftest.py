"""Fixtures of the demo's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.model import build


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merged demo model."""
    return build(tmp_path_factory.mktemp("models") / "demo-nli")
