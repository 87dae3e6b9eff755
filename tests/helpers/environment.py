"""Requirements of tests on the machine: skipped without it, and a failure where CI=true."""

from __future__ import annotations

import os

import pytest

STRICT = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skip because the machine lacks something; in CI, fail."""
    if STRICT:
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"needs {what}")
