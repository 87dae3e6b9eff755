"""The notebooks of the documentation run, and show what the code gives now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools.notebook import FOLDER, run

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
RELATIVE = 1e-2
"""Numbers may differ by 1 %, or by 2 in their last place: other kernels of BLAS round otherwise."""
SMALL = 100_000
"""Bytes of a notebook with its outputs."""


def texts(notebook: Any) -> list[str]:
    """Return the outputs of a notebook, in order."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output.text
            found.append(output["text"] if "text" in output else "".join(output.data.values()))
    return found


def same(ours: str, theirs: str) -> bool:
    """Tell whether texts agree, numbers within the tolerance."""
    if re.split(NUMBER, ours) != re.split(NUMBER, theirs):
        return False
    for one, other in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
        unit = 10.0 ** -len(one.partition(".")[2])
        if abs(float(one) - float(other)) > max(RELATIVE * abs(float(one)), 2.1 * unit):
            return False
    return True


@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        ("loss 0.4654", "loss 0.4656", True),
        ("loss 0.4654", "loss 0.4754", False),
        ("[254 12]", "[253 12]", True),
        ("[254 12]", "[254 19]", False),
        ("loss 0.4654", "cost 0.4654", False),
        ("1 2", "1 2 3", False),
    ],
)
def test_the_tolerance(ours: str, theirs: str, equal: bool) -> None:
    assert same(ours, theirs) is equal


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_shows_what_the_code_gives(path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    assert path.stat().st_size < SMALL
    before, now = texts(kept), texts(run(path))
    assert len(before) == len(now) > 10
    for ours, theirs in zip(before, now, strict=True):
        assert same(ours, theirs), f"run `make docs`: {ours[:500]}\nis now\n{theirs[:500]}"
