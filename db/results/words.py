"""The words of an example's tokens as two JSON arrays."""

from __future__ import annotations

import json

from headwise.segmentation import Segmentation, Span


def to_columns(words: Segmentation | None) -> dict[str, str | None]:
    """Return the values of `word_index` and `token_spans`; null where words are unknown."""
    if words is None:
        return {"word_index": None, "token_spans": None}
    index = map(str, words.word_index)
    spans = ["null" if s is None else f"[{s.segment},{s.start},{s.end}]" for s in words.spans]
    return {"word_index": f"[{','.join(index)}]", "token_spans": f"[{','.join(spans)}]"}


def from_columns(word_index: str | None, token_spans: str | None) -> Segmentation | None:
    """Read what `to_columns` made; None for results that have no words."""
    if word_index is None or token_spans is None:
        return None
    return Segmentation(
        word_index=tuple(json.loads(word_index)),
        spans=tuple(None if span is None else Span(*span) for span in json.loads(token_spans)),
    )
