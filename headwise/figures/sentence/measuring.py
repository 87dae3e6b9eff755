"""Widths of texts without a font: those of Arial, which is what figures are set in.

What Arial does not have is guessed; pictures make a text as wide as it was measured.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import accumulate, takewhile

from headwise.segmentation import is_mark

_ARIAL = {
    " !/:;I[\\]ft,.": 278,
    "'": 191,
    "()-`r": 333,
    '"': 355,
    "*": 389,
    "^": 469,
    "Jcksvxyz": 500,
    "#$0123456789?L_abdeghnopqu": 556,
    "+<=>~": 584,
    "FTZ": 611,
    "&ABEKPSVXY": 667,
    "CDHNRUw": 722,
    "GOQ": 778,
    "Mm": 833,
    "%": 889,
    "W": 944,
    "@": 1015,
    "ijl": 222,
    "{}": 334,
    "|": 260,
}
_THOUSANDTHS = {letter: width for letters, width in _ARIAL.items() for letter in letters}
_FULL, _OTHER = 1000, 560
_MONOSPACED = 0.61


def text_width(text: str, size: float) -> float:
    """The width of a text in pixels, at a size of letters."""
    return sum(map(_width, text)) * size / 1000


def monospaced_width(text: str, size: float) -> float:
    """The same in letters of one width."""
    return _MONOSPACED * size * sum(0 if is_mark(c) else 2 if _is_full(c) else 1 for c in text)


def shortened(text: str, most: float, size: float) -> str:
    """A text that is not wider than that, with an ellipsis in place of its end."""
    if text_width(text, size) <= most:
        return text
    room = most - text_width("…", size)
    ends = accumulate(text_width(character, size) for character in text)
    return text[: sum(1 for _ in takewhile(lambda end: end <= room, ends))] + "…"


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if is_mark(character):
        return 0
    if character in _THOUSANDTHS:
        return _THOUSANDTHS[character]
    base = unicodedata.normalize("NFD", character)[0]
    if base in _THOUSANDTHS:
        return _THOUSANDTHS[base]
    return _FULL if character == "…" or _is_full(character) else _OTHER


def _is_full(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
