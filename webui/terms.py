"""Terms of docs/reference/glossary.md, for the help page and wherever pages use them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import url_for
from markupsafe import Markup

FILE = Path(__file__).parents[1] / "docs/reference/glossary.md"
_ROW = re.compile(r"^\| (?P<name>[^|]+) \| (?P<meaning>.+) \|$")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the glossary; `code` stands between backticks in its meaning."""

    name: str
    meaning: str

    @property
    def anchor(self) -> str:
        """The end of its address on the help page."""
        return f"term-{re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')}"


@cache
def glossary() -> Mapping[str, Sequence[Term]]:
    """The terms by the heading they stand under."""
    found: dict[str, list[Term]] = {}
    heading = ""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif (row := _ROW.match(line)) and row["name"] not in ("term", "---"):
            meaning = _LINK.sub(r"\1", row["meaning"]).replace(" ()", "")
            found.setdefault(heading, []).append(Term(name=row["name"], meaning=meaning))
    return found


def term(words: str, name: str = "") -> Markup:
    """Words that link to the meaning of a term and show it; by default they are its name.

    Raises KeyError for a term that the glossary does not have.
    """
    found = _by_name()[name or words.lower()]
    address = url_for("jobs.help_page", _anchor=found.anchor)
    meaning = found.meaning.replace("`", "")
    link = Markup('<a class="term" href="{}" title="{}">{}</a>')
    return link.format(address, meaning, words)


@cache
def _by_name() -> Mapping[str, Term]:
    return {one.name: one for terms in glossary().values() for one in terms}
