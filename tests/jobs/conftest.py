"""Settings whose data folder is the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with `tmp_path/home` as the only readable folder."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home=home)
