"""Places for the tokens or words of a trigger; without torch.

As in the official code of Hao et al. (AAAI 2021), each in turn is inserted at index
round((n + added) * position) of a text with n tokens (or words), and one further if the one before
it was inserted there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")
Placed = list[tuple[_T, float]]
"""Items, and the relative position of each, from 0 to 1."""


def placed(items: Sequence[_T], added: Placed[_T]) -> list[_T]:
    """Insert (item, relative position) among items; see the module."""
    result, total, before = list(items), len(items) + len(added), -1
    for item, position in added:
        index = round(total * position)
        if index == before:
            index += 1
        before = index
        result.insert(index, item)
    return result


def words_into(text: str, added: Placed[str], most: int | None = None) -> str:
    """Insert words into a text, or its first ``most`` words; whitespace within it remains."""
    own = re.findall(r"\S+\s*", text)[:most]
    words = placed(own, [(word + " ", position) for word, position in added])
    return "".join(word if word[-1].isspace() else word + " " for word in words).strip()
