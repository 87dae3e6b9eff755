"""The effect of adversarial triggers on predictions (Hao et al., AAAI 2021, section 5).

A trigger is a sequence of tokens (token, segment, relative position, word);
``headwise.attack.inserting`` inserts them into texts.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attack.inserting import Inserter, Prepared, Trigger, check_trigger
from headwise.attack.placing import words_into
from headwise.attack.predicting import Classifier
from headwise.encoding import Encoded, Text
from headwise.errors import OptionError
from headwise.models.evaluating import evaluating
from headwise.models.labels import Outputs, label_index
from headwise.options import Progress
from headwise.stats.attack import AttackSums
from headwise.targets import Label, label_names, model_outputs

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

_CHUNK = 2048  # number of texts with triggers that are held, and sorted by length, at a time


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """Predictions of E texts without and with each of T triggers; C classes.

    labels: names of the classes
    gold: gold label, int32 [E]; -1 where there is none
    before: class predicted without a trigger, int32 [E]; -1 where the output is not finite
    before_probabilities: float32 [E, C]
    after: class predicted with each trigger, int32 [T, E]; -1 where the output is not finite or
        the trigger was not inserted, because it is from this text or has no token for it
    after_probabilities: float32 [T, E, C], NaN where ``after`` is -1
    """

    labels: tuple[str, ...]
    gold: Ints
    before: Ints
    before_probabilities: Floats
    after: Ints
    after_probabilities: Floats

    def sums(self) -> AttackSums:
        """Return counts by trigger and class; those of shards add up."""
        return AttackSums.of(self.gold, self.before, self.after, len(self.labels))


def evaluate_triggers(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    labels: Sequence[Label | None],
    triggers: Sequence[Trigger],
    *,
    insertion: str = "tokens",
    segments: str = "both",
    max_length: int | None = None,
    examples: Sequence[Hashable] | None = None,
    sources: Sequence[Collection[Hashable]] | None = None,
    token_budget: int | None = None,
    progress: Progress | None = None,
) -> AttackResult:
    """Classify every text without a trigger and with each trigger inserted.

    labels: gold label of each text by name or index, or None
    insertion, segments: see ``Inserter``
    max_length: as for ``attribute``; texts are truncated to make room for triggers, never triggers
    examples: an identifier for each text, by default its index
    sources: for each trigger the identifiers of the texts it is from, which it is not inserted into
    token_budget: tokens (rows x length) in one pass; halved when memory runs out
    progress: called as ``progress(done, total)`` in classifications; an exception ends the work

    Raises OptionError for a bad argument, and TokenizerError for insertion ``tokens`` with a
    tokenizer that does not tell the text of a token.
    """
    names = _checked_labels(model)
    own = list(range(len(texts))) if examples is None else list(examples)
    origins: Sequence[Collection[Hashable]] = [()] * len(triggers) if sources is None else sources
    _check_lengths(labels=(labels, texts), examples=(own, texts), sources=(origins, triggers))
    for number, trigger in enumerate(triggers):
        check_trigger(f"triggers[{number}]", trigger)
    gold = [
        -1 if g is None else label_index(g, names, f"labels[{i}]") for i, g in enumerate(labels)
    ]
    inserter = Inserter(
        model=model,
        tokenizer=tokenizer,
        insertion=insertion,
        segments=segments,
        max_length=max_length,
    )
    prepared = [inserter.prepare(text, max_length) for text in texts]
    places = [
        (t, e) for t, origin in enumerate(origins) for e in range(len(own)) if own[e] not in origin
    ]
    predicted = np.full((1 + len(triggers), len(texts)), -1, dtype=np.int32)
    probabilities = np.full((*predicted.shape, len(names)), np.nan, dtype=np.float32)
    total, done = len(texts) + len(places), 0

    def tick(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    classifier = Classifier(model, token_budget)
    waiting = _variants(inserter, prepared, triggers, places)
    with evaluating(model):
        while chunk := list(islice(waiting, _CHUNK)):
            cells = tuple(np.array([place for place, _ in chunk]).T)
            found = classifier.classify([encoded for _, encoded in chunk], tick)
            predicted[cells], probabilities[cells] = found
    if done < total:
        tick(total - done)  # triggers without a token for some of the texts
    return AttackResult(
        labels=names,
        gold=np.array(gold, dtype=np.int32),
        before=predicted[0],
        before_probabilities=probabilities[0],
        after=predicted[1:],
        after_probabilities=probabilities[1:],
    )


def _variants(
    inserter: Inserter,
    texts: Sequence[Prepared],
    triggers: Sequence[Trigger],
    places: Sequence[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], Encoded]]:
    """Every text without a trigger, in row 0, and with those of ``places`` in rows 1 .. T."""
    for e, text in enumerate(texts):
        yield (0, e), text.encoded
    for t, e in places:
        attacked = inserter.insert(texts[e], triggers[t])
        if attacked is not None:
            yield (1 + t, e), attacked


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The classification of one text without and with inserted words.

    labels: names of the C classes
    texts_before, texts_after: the text or pair without and with the words
    before, after: probabilities of the classes, float32 [C]
    predicted_before, predicted_after: names of the predicted classes
    truncated: the text with the words was too long for the model; the text, not the words, was
        truncated
    """

    labels: tuple[str, ...]
    texts_before: tuple[str, ...]
    texts_after: tuple[str, ...]
    before: Floats
    after: Floats
    predicted_before: str
    predicted_after: str
    truncated: bool


def try_attack(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    word_pairs: Sequence[Sequence[str]],
    premise: str,
    hypothesis: str | None = None,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    max_length: int | None = None,
) -> Attempt:
    """Insert words into a text or pair, and classify it before and after.

    word_pairs: the words for the premise, then those for the hypothesis, any number of each
    positions: relative position of each word, like ``word_pairs``; evenly spread by default. A
        word is inserted at index round((words + added) * position).

    Raises OptionError for words without a text, positions that do not fit the words, no words, or
    an empty text.
    """
    names = _checked_labels(model)
    parts = (premise,) if hypothesis is None else (premise, hypothesis)
    if not all(part.strip() for part in parts):
        raise OptionError("premise and hypothesis must not be empty")
    if len(word_pairs) > len(parts):
        raise OptionError(f"word_pairs has words for {len(word_pairs)} texts, given {len(parts)}")
    spread = [[(k + 1) / (len(words) + 1) for k in range(len(words))] for words in word_pairs]
    chosen = spread if positions is None else positions
    if [len(row) for row in chosen] != [len(words) for words in word_pairs]:
        raise OptionError("positions must have one number for each word of word_pairs")
    trigger = [
        (word, segment, place, word)
        for segment, (words, places) in enumerate(zip(word_pairs, chosen, strict=True))
        for word, place in sorted(zip(words, places, strict=True), key=lambda pair: pair[1])
    ]
    check_trigger("word_pairs", trigger)
    inserter = Inserter(
        model=model, tokenizer=tokenizer, insertion="text", segments="both", max_length=max_length
    )
    text = inserter.prepare(premise if hypothesis is None else (premise, hypothesis), max_length)
    attacked = inserter.insert(text, trigger)
    if attacked is None:
        raise OptionError("word_pairs has only blank words")
    with evaluating(model):
        predicted, probabilities = Classifier(model, None).classify([text.encoded, attacked])
    if (predicted < 0).any():
        raise OptionError("the model's output for this text is not a finite number")
    added = [[(w.strip(), p) for w, s, p, _ in trigger if s == n] for n in range(len(parts))]
    return Attempt(
        labels=names,
        texts_before=parts,
        texts_after=tuple(
            words_into(part, words) for part, words in zip(parts, added, strict=True)
        ),
        before=probabilities[0],
        after=probabilities[1],
        predicted_before=names[predicted[0]],
        predicted_after=names[predicted[1]],
        truncated=attacked.truncated,
    )


def _checked_labels(model: PreTrainedModel) -> tuple[str, ...]:
    names = label_names(model)
    if len(names) < 2 or model_outputs(model) is Outputs.NUMBERS:
        raise OptionError("an attack needs a model with two classes; this one gives numbers")
    return names


def _check_lengths(**given: tuple[Sequence[object], Sequence[object]]) -> None:
    for name, (values, wanted) in given.items():
        if len(values) != len(wanted):
            raise OptionError(f"{name} has {len(values)} entries; it needs {len(wanted)}")
