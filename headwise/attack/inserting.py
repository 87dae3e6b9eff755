"""Inserting triggers into texts, as tokens or as words.

A trigger is a sequence of tokens, each (token, segment, relative position, word): its word piece,
0 for the first text of a pair or 1 for the second, its position among the n tokens of its text,
counted from 1 and divided by n, and the word that it is a piece of. `placing` says where it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attack.placing import placed, words_into
from headwise.encoding import Encoded, Text, effective_limit, encode
from headwise.errors import OptionError, TokenizerError

Token = tuple[str, int, float, str]
Trigger = Sequence[Token]

INSERTIONS = ("tokens", "text")
SEGMENTS = {"both": (0, 1), "premise": (0,), "hypothesis": (1,)}


def check_trigger(where: str, trigger: Trigger) -> None:
    """Raise OptionError, naming ``where`` it is from, for anything but a trigger."""
    for token in trigger:
        right = len(token) == 4 and token[1] in (0, 1) and 0 <= token[2] <= 1
        if not right:
            raise OptionError(
                f"{where}: {token!r} must be (token, segment 0 or 1, position from 0 to 1, word)"
            )
    if not trigger:
        raise OptionError(f"{where} is empty")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A tokenized text before insertion.

    sequences: for each token the text of the pair that it belongs to, None for special tokens
    """

    parts: tuple[str, ...]
    encoded: Encoded
    sequences: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Inserter:
    """Inserts triggers into texts.

    insertion: ``tokens`` inserts the word pieces of the trigger among those of the text, even if no
        text is tokenized like that; ``text`` inserts its words, and then tokenizes the text
    segments: ``both``, or only the tokens of the ``premise`` (first text) or ``hypothesis``
    max_length: maximum number of tokens. A longer text loses words or pieces of its own at its end,
        the longer text of a pair first, never those of the trigger.

    Raises OptionError for an unknown value.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    insertion: str
    segments: str
    max_length: int | None

    def __post_init__(self) -> None:
        for name, choices in (("insertion", INSERTIONS), ("segments", tuple(SEGMENTS))):
            if (value := getattr(self, name)) not in choices:
                raise OptionError(f"{name} {value!r} is unknown; use one of {', '.join(choices)}")
        if self.insertion == "tokens" and not self.tokenizer.is_fast:
            raise TokenizerError(
                "a tokenizer written in Python does not tell the text of a token; "
                "use insertion 'text'"
            )

    @property
    def limit(self) -> int | None:
        return effective_limit(self.model, self.tokenizer, self.max_length)

    def prepare(self, text: Text, limit: int | None) -> Prepared:
        """Tokenize a text, truncated to ``limit`` tokens."""
        (encoded,) = encode(self.model, self.tokenizer, [text], limit)
        parts = (text,) if isinstance(text, str) else tuple(text)
        if self.insertion == "text":
            return Prepared(parts=parts, encoded=encoded, sequences=())
        cut = {"truncation": "longest_first", "max_length": len(encoded.ids)}
        whole = self.tokenizer(*parts, **(cut if encoded.truncated else {}))
        return Prepared(parts=parts, encoded=encoded, sequences=tuple(whole.sequence_ids()))

    def insert(self, text: Prepared, trigger: Trigger) -> Encoded | None:
        """Return the text with a trigger, or None if no token of the trigger is for this text.

        Raises OptionError if the trigger itself is longer than the limit.
        """
        chosen = SEGMENTS[self.segments][: len(text.parts)]
        tokens = sorted(
            (token for token in trigger if token[1] in chosen and token[1] < len(text.parts)),
            key=lambda token: token[1:3],
        )
        if not tokens:
            return None
        if self.insertion == "tokens":
            return self._with_tokens(text, tokens)
        return self._with_words(text, tokens)

    def _with_tokens(self, text: Prepared, trigger: Trigger) -> Encoded | None:
        limit, segments = self.limit, {token[1] for token in trigger}
        if not segments <= set(text.sequences):
            return None  # an empty text has no tokens among which to insert
        if limit is not None and len(text.encoded.ids) + len(trigger) > limit:
            room = limit - len(trigger)
            if room <= self.tokenizer.num_special_tokens_to_add(pair=True):
                raise _too_long(trigger, limit)
            pair = text.parts[0] if len(text.parts) == 1 else (text.parts[0], text.parts[1])
            text = self.prepare(pair, room)
        ids, types = list(text.encoded.ids), text.encoded.token_types
        kinds = None if types is None else list(types)
        for segment in sorted(segments, reverse=True):
            here = [i for i, sequence in enumerate(text.sequences) if sequence == segment]
            if not here:
                raise _too_long(trigger, limit)
            run = slice(here[0], here[-1] + 1)
            added = [(self._id(token), place) for token, of, place, _ in trigger if of == segment]
            ids[run] = placed(ids[run], added)
            if kinds is not None:
                kinds[run] = [kinds[here[0]]] * (len(here) + len(added))
        return Encoded(
            ids=tuple(ids),
            token_types=None if kinds is None else tuple(kinds),
            truncated=text.encoded.truncated,
        )

    def _id(self, token: str) -> int:
        number = self.tokenizer.convert_tokens_to_ids(token)
        unknown = self.tokenizer.unk_token_id
        if number is None or (number == unknown and token != self.tokenizer.unk_token):
            raise OptionError(
                f"trigger token {token!r} is not in this tokenizer's vocabulary; "
                "use insertion 'text'"
            )
        return int(number)

    def _with_words(self, text: Prepared, trigger: Trigger) -> Encoded | None:
        added: dict[int, list[tuple[str, float]]] = {}
        before = ("", -1, "")
        for piece, segment, position, word in trigger:
            # Two pieces of one word are that word once.
            again = before[1:] == (segment, word) and before[0] != piece
            if word.strip() and not again:
                added.setdefault(segment, []).append((word.strip(), position))
            before = (piece, segment, word)
        if not added:
            return None
        fill = partial(self._filled, text.parts, added)
        whole = fill(None)
        if not whole.truncated:
            return whole
        low, high = -1, max(len(part.split()) for part in text.parts)
        while high - low > 1:  # low fits, -1 standing for no number of words; high does not
            middle = (low + high) // 2
            low, high = (low, middle) if fill(middle).truncated else (middle, high)
        if low < 0:
            raise _too_long(trigger, self.limit)
        return replace(fill(low), truncated=True)

    def _filled(
        self, parts: tuple[str, ...], added: dict[int, list[tuple[str, float]]], most: int | None
    ) -> Encoded:
        """Tokenize the first ``most`` words of each part with the inserted ones."""
        texts = [words_into(part, added.get(n, []), most) for n, part in enumerate(parts)]
        text = texts[0] if len(texts) == 1 else (texts[0], texts[1])
        return encode(self.model, self.tokenizer, [text], self.max_length)[0]


def _too_long(trigger: Trigger, limit: int | None) -> OptionError:
    shown = " ".join(token[0] for token in trigger)
    return OptionError(f"trigger {shown!r} leaves no room for text within max_length {limit}")
