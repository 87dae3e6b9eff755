"""An extension of Griffe: lines of docstrings that describe a name become a list on the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAMED = re.compile(r"^((?:\*{0,2}[a-zA-Z_]\w*)(?:, \*{0,2}[a-zA-Z_]\w*)*)( \[[^\]]*\])?: (.*)$")


class NamedLines(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """Return a docstring with its lines `name: meaning` as items of a list."""
    lines: list[str] = []
    item = False
    for line in text.splitlines():
        if found := _NAMED.match(line):
            names, shape, meaning = found.groups()
            if not item and lines and lines[-1]:
                lines.append("")
            marked = ", ".join(f"`{name}`" for name in names.split(", "))
            lines.append(f"- {marked}{shape or ''}: {meaning}")
            item = True
        else:
            item = item and line.startswith(" ")
            lines.append(line)
    return "\n".join(lines)
