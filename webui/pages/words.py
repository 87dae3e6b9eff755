"""From word pieces to the words of the original text, with one attribution each.

Three conventions are known: WordPiece ('##' continues a word), byte-level BPE ('Ġ' starts one)
and SentencePiece ('▁' starts one). Words are aligned with the original text, so that its case,
accents and spacing are shown; where that fails, the pieces themselves are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

LEVELS = 10
"""Steps of the colour scale on either side of zero."""
_SPECIAL = re.compile(r"^(\[(CLS|SEP|PAD|BOS|EOS)\]|</?(s|pad|cls|sep|bos|eos)>|<\|[a-z_]+\|>)$")
_CLOSING = re.compile(r"^[.,;:!?%)\]}'’”…]+$")


@dataclass(frozen=True, kw_only=True)
class Word:
    """Consecutive word pieces that are shown as one."""

    first: int
    """Position of its first piece."""
    end: int
    """Position after its last piece."""
    text: str
    glued: bool
    """No space before it."""
    special: bool
    """A separator of the tokenizer, like [CLS], and no part of the text."""
    segment: int
    """0 or 1: which of the two texts."""


def read_words(tokens: Sequence[str], texts: Sequence[str]) -> list[Word]:
    """The words of an example; `texts` (none, one or two) give case and spacing."""
    words = _merge(tokens, _convention(tokens))
    aligned: list[Word] = []
    for segment in sorted({word.segment for word in words}):
        part = [word for word in words if word.segment == segment]
        aligned += _align(part, texts[segment]) if segment < len(texts) else part
    return aligned


def sum_by_word(words: Sequence[Word], values: Sequence[float]) -> list[float]:
    """The attribution of each word: the sum over its pieces."""
    return [sum(values[word.first : word.end]) for word in words]


def scale_of(words: Sequence[Word], values: Sequence[float]) -> float:
    """The value that gets the strongest colour: the largest |value| of a word of the text."""
    texts = [abs(v) for word, v in zip(words, values, strict=True) if not word.special]
    return max(texts, default=0.0) or max((abs(v) for v in values), default=0.0)


def level(value: float, scale: float) -> str:
    """CSS class of a value on the diverging scale: 'p1'..'p10', 'n1'..'n10', or 'z' near zero."""
    step = min(LEVELS, round(LEVELS * abs(value) / scale)) if scale > 0 else 0
    return "z" if step == 0 else f"{'p' if value > 0 else 'n'}{step}"


def word_at(words: Sequence[Word], position: int) -> int | None:
    """Index of the word that holds a piece."""
    return next((i for i, word in enumerate(words) if word.first <= position < word.end), None)


def _convention(tokens: Sequence[str]) -> str:
    if any(token.startswith("▁") for token in tokens):
        return "▁"
    # 'Ġ' is also a letter (Maltese): only a convention where '##' is none.
    if any(token.startswith("Ġ") for token in tokens) and not any(
        token.startswith("##") for token in tokens
    ):
        return "Ġ"
    return "##"


def _merge(tokens: Sequence[str], convention: str) -> list[Word]:
    words: list[Word] = []
    segment, inside = 0, False
    for position, token in enumerate(tokens):
        special = bool(_SPECIAL.match(token))
        if special:
            segment, inside = (segment + 1, False) if inside else (segment, False)
        piece, continues = _piece(token, convention)
        if not special and continues and inside:
            words[-1] = replace(words[-1], end=position + 1, text=words[-1].text + piece)
            continue
        words.append(
            Word(
                first=position,
                end=position + 1,
                text=token if special else piece,
                glued=bool(_CLOSING.match(piece)) and inside,
                special=special,
                # A closing separator belongs to the text before it.
                segment=max(0, segment - 1) if special and words else segment,
            )
        )
        inside = not special
    return [replace(w, text=w.text if w.special else _readable(w.text, convention)) for w in words]


def _piece(token: str, convention: str) -> tuple[str, bool]:
    """The piece without its mark, and whether it continues the word before it."""
    if convention == "##":
        return (token[2:], True) if token.startswith("##") and len(token) > 2 else (token, False)
    return (token[1:], False) if token.startswith(convention) else (token, True)


def _byte_table() -> dict[str, int]:
    # The printable stand-ins that byte-level BPE uses for the 256 bytes.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): byte for i, byte in enumerate(moved)}


_BYTES = _byte_table()


def _readable(text: str, convention: str) -> str:
    if convention != "Ġ" or any(character not in _BYTES for character in text):
        return text
    return bytes(_BYTES[character] for character in text).decode("utf-8", errors="replace")


def _folded(text: str) -> tuple[str, list[int]]:
    """`text` without case, accents and spaces, and where each kept character came from."""
    kept: list[str] = []
    origin: list[int] = []
    for place, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", character):
            if unicodedata.combining(part) or part.isspace():
                continue
            for folded in part.casefold():
                kept.append(folded)
                origin.append(place)
    return "".join(kept), origin


def _align(words: list[Word], text: str) -> list[Word]:
    folded, origin = _folded(text)
    place, last_end, found = 0, 0, []
    for word in words:
        if word.special:
            found.append(word)
            continue
        wanted = _folded(word.text)[0]
        if not wanted or not folded.startswith(wanted, place):
            return words
        start, stop = origin[place], origin[place + len(wanted) - 1] + 1
        # Marks that stand alone in the original (a combining accent) stay with their letter.
        while stop < len(text) and unicodedata.combining(text[stop]):
            stop += 1
        glued = place > 0 and start <= last_end
        found.append(replace(word, text=text[start:stop] or word.text, glued=glued))
        place, last_end = place + len(wanted), stop
    return found
