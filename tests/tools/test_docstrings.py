"""Described names of a docstring become a list; prose stays."""

from __future__ import annotations

from tools.docstrings import listed


def test_names_become_items() -> None:
    text = """Return what is there.

labels: names of the C classes
before, after: class, int32 [E]; -1 where
    there is none
mean [S, H]: of all

Raises OptionError for this: and that."""
    assert (
        listed(text)
        == """Return what is there.

- `labels`: names of the C classes
- `before`, `after`: class, int32 [E]; -1 where
    there is none
- `mean` [S, H]: of all

Raises OptionError for this: and that."""
    )
