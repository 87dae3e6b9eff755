"""Triggers: the tokens whose interaction an attribution found, to be put into other texts.

Hao et al., AAAI 2021, section 5: "adversarial triggers". This module defines
them; `db.kinds.triggers` mines them, `headwise.attack` inserts them into texts and runs the
model, `headwise.stats.attack` counts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from headwise.segmentation import Segmentation, is_mark, written
from jobs.specs.base import Frozen

SPECIAL_TOKENS = frozenset(
    "[CLS] [SEP] [PAD] <s> </s> <pad> <cls> <sep> <bos> <eos> <|endoftext|>".split()
)
"""Tokens that tokenizers put around texts and that are not part of them."""
SEGMENTS = (0, 1)
"""The texts of a pair."""


class TriggerToken(NamedTuple):
    """One token of a trigger; a plain tuple, so that `headwise.attack` takes it as it is."""

    token: str
    """The word piece."""
    segment: int
    """0 for the first text, 1 for the second of a pair."""
    position: float
    """Place among the n tokens of its text, counted from 1, divided by n: in (0, 1]."""
    word: str
    """The word that it is a piece of."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a head's matrix: its value is an attribution, or an attention probability."""

    layer: int
    attention_type: str
    head: int
    query: int
    key: int
    value: float


@dataclass(frozen=True, kw_only=True)
class TextTokens:
    """The n tokens of an example, and which of them are part of a text."""

    tokens: tuple[str, ...]
    segments: tuple[int | None, ...]
    """For each token 0 or 1, the text it is part of; None for special tokens."""
    words: tuple[str, ...]
    """For each token the word that it is a piece of, without punctuation around it. Tokens without
    letters and digits are words of their own."""

    @classmethod
    def of(
        cls, tokens: Sequence[str], texts: Sequence[str], known: Segmentation | None
    ) -> TextTokens | None:
        """Make it from the words of an example, or from its tokens alone where they are not known.

        None where the tokens do not show where each text begins and ends.
        """
        if known is None:
            return _by_names(tuple(tokens), len(texts))
        whole = known.word_texts(texts, tokens)
        words = []
        for token, span, number in zip(tokens, known.spans, known.word_index, strict=True):
            piece = written(span, texts, token)
            inside = any(character.isalnum() or is_mark(character) for character in piece)
            words.append(_trimmed(whole[number]) if inside else piece)
        segments = tuple(None if span is None else span.segment for span in known.spans)
        return cls(tokens=tuple(tokens), segments=segments, words=tuple(words))

    def positions(self, segment: int) -> list[int]:
        """Return the positions of the tokens of a text."""
        return [place for place, own in enumerate(self.segments) if own == segment]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An example and the cells to make a trigger of, the largest first."""

    job: int
    example: int
    label: int
    """The class it counts for."""
    tokens: TextTokens
    cells: tuple[Cell, ...]
    score: float


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of a trigger."""

    job: int
    example: int
    cells: tuple[Cell, ...]
    """Empty for a random control."""
    positions: tuple[int, ...]
    """Positions of the trigger's tokens in the example."""
    tokens: tuple[TriggerToken, ...]
    score: float
    """Sum of the values of the rule's cells, also of one that is too weak to give tokens."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger of one class, and every example that it was found in, the strongest first.

    In several examples the same tokens have different positions; the trigger has the first one's.
    """

    label: int
    sources: tuple[Source, ...]

    @property
    def tokens(self) -> tuple[TriggerToken, ...]:
        """The inserted tokens, ordered by text and place."""
        return self.sources[0].tokens

    @property
    def support(self) -> int:
        """Number of examples it was found in."""
        return len(self.sources)

    @property
    def max_score(self) -> float:
        """Largest score of its sources."""
        return self.sources[0].score


class TriggerRule(Frozen):
    """The rule for mining triggers; its defaults are the official code's, except `per_class`."""

    label: Literal["predicted", "gold"] = Field(
        default="predicted", description="The class a trigger belongs to: 'predicted' or 'gold'."
    )
    examples: int = Field(
        default=500, ge=1, le=1_000_000, description="Mine this many of the job's first examples."
    )
    cells: int = Field(default=2, ge=1, le=100, description="Most cells of an example's trigger.")
    one_head: bool = Field(
        default=True, description="All cells from the head that has the largest one."
    )
    threshold: float = Field(default=0.02, ge=0, description="Smallest sum of the cells.")
    ratio: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Cells smaller than this share of the largest one give no tokens.",
    )
    support: int = Field(default=1, ge=1, description="Fewest examples that have the trigger.")
    per_class: int | None = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Most triggers of a class, the strongest first; null (empty in the form) for "
        "all, as in the official code.",
    )


OFFICIAL = TriggerRule(per_class=None)
"""github.com/YRdddream/attattr, run_adver_connection.py and run_adver_evaluate.py."""


def spans(tokens: Sequence[str], texts: int) -> tuple[range, ...] | None:
    """Positions of each text: the runs between special tokens.

    None where there are not as many runs as texts: an empty text, a special token typed into one,
    or a tokenizer that puts nothing between the two. For results from before words were stored.
    """
    runs = groupby(range(len(tokens)), key=lambda position: tokens[position] in SPECIAL_TOKENS)
    found = [list(positions) for is_special, positions in runs if not is_special]
    if len(found) != texts:
        return None
    return tuple(range(run[0], run[-1] + 1) for run in found)


def words(pieces: Sequence[str]) -> list[str]:
    """The word that each piece of a text belongs to, for WordPiece, SentencePiece and BPE.

    Marks that are neither letters nor digits are words of their own. For results from before words
    were stored.
    """
    marked = [piece.startswith(("\u0120", "\u2581")) for piece in pieces]
    prefixed = any(piece.startswith("##") for piece in pieces) or not any(marked)
    starts = []
    for place, piece in enumerate(pieces):
        begins = not piece.startswith("##") if prefixed else marked[place]
        apart = not (_is_word(piece) and place and _is_word(pieces[place - 1]))
        starts.append(begins or apart)
    number = np.cumsum(starts).tolist()
    plain = [piece.removeprefix("##") if prefixed else piece for piece in pieces]
    grouped: dict[int, str] = {}
    for word, piece in zip(number, plain, strict=True):
        grouped[word] = grouped.get(word, "") + piece
    return [_readable(grouped[word]) for word in number]


def _by_names(tokens: tuple[str, ...], texts: int) -> TextTokens | None:
    runs = spans(tokens, texts)
    if runs is None:
        return None
    segments: list[int | None] = [None] * len(tokens)
    whole = list(tokens)
    for segment, run in enumerate(runs):
        segments[run.start : run.stop] = [segment] * len(run)
        whole[run.start : run.stop] = words(tokens[run.start : run.stop])
    return TextTokens(tokens=tokens, segments=tuple(segments), words=tuple(whole))


def _trimmed(word: str) -> str:
    """Return a word without punctuation around it."""
    letters = [place for place, character in enumerate(word) if character.isalnum()]
    if not letters:
        return word
    end = letters[-1] + 1
    while end < len(word) and is_mark(word[end]):
        end += 1
    return word[letters[0] : end]


def _is_word(piece: str) -> bool:
    return any(character.isalnum() for character in piece.lstrip("\u0120\u2581"))


def _readable(word: str) -> str:
    """Without the marks of blanks, and byte-level BPE's characters turned back into text."""
    if "\u2581" in word:
        return word.replace("\u2581", "")
    try:
        return bytes(_BYTES[character] for character in word).decode().strip()
    except (KeyError, UnicodeDecodeError):
        return word  # characters of its own, not of bytes


def _byte_characters() -> dict[str, int]:
    """The character that byte-level BPE (Radford et al. 2019) writes for each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


_BYTES = _byte_characters()


def merge(candidates: Iterable[Candidate], rule: TriggerRule = OFFICIAL) -> list[Trigger]:
    """Triggers of candidates, by class, the strongest first; equal ones of a class are merged.

    Equal means the same pieces of the same words, in any case, in the same texts. Of the rule,
    `support` and `per_class` are applied here; the cells have been chosen by the rest of it.
    """
    found: dict[tuple[int, tuple[tuple[str, int, str], ...]], list[Source]] = {}
    for candidate in candidates:
        source = _source(candidate)
        if source.tokens:
            what = tuple((t.token, t.segment, t.word.casefold()) for t in source.tokens)
            found.setdefault((candidate.label, what), []).append(source)
    triggers = []
    for (label, _), sources in found.items():
        sources.sort(key=lambda source: (-source.score, source.job, source.example))
        if len(sources) >= rule.support:
            triggers.append(Trigger(label=label, sources=tuple(sources)))
    triggers.sort(key=lambda t: (t.label, -t.max_score, t.sources[0].example, t.tokens))
    classes = groupby(triggers, key=lambda trigger: trigger.label)
    return [trigger for _, group in classes for trigger in list(group)[: rule.per_class]]


def _source(candidate: Candidate) -> Source:
    source = Source(
        job=candidate.job,
        example=candidate.example,
        cells=candidate.cells,
        positions=(),
        tokens=(),
        score=candidate.score,
    )
    positions = {position for cell in candidate.cells for position in (cell.query, cell.key)}
    return _placed(source, candidate.tokens, positions)


def _placed(source: Source, own: TextTokens, positions: Collection[int]) -> Source:
    """With the tokens at those positions; special tokens, which are in no text, are dropped."""
    placed = []
    for segment in SEGMENTS:
        text = own.positions(segment)
        placed += [
            (p, TriggerToken(own.tokens[p], segment, (place + 1) / len(text), own.words[p]))
            for place, p in enumerate(text)
            if p in positions
        ]
    return replace(
        source, positions=tuple(p for p, _ in placed), tokens=tuple(token for _, token in placed)
    )


def random_controls(
    triggers: Sequence[Trigger],
    examples: Mapping[tuple[int, int], TextTokens],
    seed: int,
) -> list[Trigger]:
    """For each trigger, as many tokens of the same texts of its first source, drawn at random.

    examples: the tokens of those sources, by job and example. The trigger's own tokens are not
    drawn, unless a text has too few others. Their score is 0. A control depends on the seed and
    its trigger alone.
    """
    controls = []
    for trigger in triggers:
        first = trigger.sources[0]
        generator = random.Random(f"{seed} {first.job} {first.example} {first.positions}")  # noqa: S311
        tokens = examples[first.job, first.example]
        drawn: list[int] = []
        for segment in SEGMENTS:
            text = tokens.positions(segment)
            count = sum(token.segment == segment for token in first.tokens)
            others = [position for position in text if position not in first.positions]
            drawn += generator.sample(others if len(others) >= count else list(text), count)
        source = _placed(replace(first, cells=(), score=0.0), tokens, drawn)
        controls.append(Trigger(label=trigger.label, sources=(source,)))
    return controls
