"""Attack jobs: the specification, the result of a shard, and the rates of the whole job.

Triggers (`jobs.kinds.triggers`) are inserted into texts, and the changes of the model's predictions
are counted (`headwise.stats.attack`).
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from itertools import groupby
from operator import add, itemgetter
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from headwise.models.labels import Outputs
from headwise.stats.attack import AttackSums
from headwise.stats.shares import share
from jobs.errors import Problem
from jobs.kinds.triggers import TriggerRule, TriggerToken
from jobs.results.base import Floats, Ints, ShardResult
from jobs.specs.base import ROW_BYTES, Frozen, JobNumber, JobSpec, ModelSpec, Reference, at

CLASSES_ASSUMED = 3
"""Classes that an estimate assumes: how many triggers there are is known after planning."""
MOST_WORDS, MOST_GIVEN = 50, 200


class TriggerKind(StrEnum):
    """The origin of a trigger, in the order in which kinds are listed."""

    MINED = "mined"
    """From the token pairs of an attribution."""
    GIVEN = "given"
    """Given by the user."""
    RANDOM = "random"
    """A control: as many tokens of the same text, drawn at random."""
    ATTENTION = "attention"
    """A control: as many tokens, chosen by attention instead of attribution."""

    @property
    def is_control(self) -> bool:
        """True for the kinds that mined triggers are compared with."""
        return self in (TriggerKind.RANDOM, TriggerKind.ATTENTION)

    @property
    def display_name(self) -> str:
        """Its name on pages: `mined`, `random control`."""
        return f"{self} control" if self.is_control else str(self)

    @property
    def noun(self) -> str:
        """One of them in a sentence: `mined trigger`, `random control`."""
        return self.display_name if self.is_control else f"{self} trigger"


class Controls(Frozen):
    """Controls to compare mined triggers with: one of each type for every mined trigger."""

    random: bool = Field(
        default=True, description="As many tokens of the same text, drawn at random."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the random controls.")
    attention: bool = Field(
        default=True,
        description="As many tokens of the same text, by the largest attention probabilities.",
    )


class AttackSpec(JobSpec):
    """Adversarial triggers, put into every text (Hao et al., AAAI 2021, section 5)."""

    kind: Literal["attack"] = "attack"
    triggers_from: JobNumber | None = Field(
        default=None,
        description="Number of the attribution job whose strongest token pairs are mined for "
        "triggers. Its model is used where none is given.",
    )
    rule: TriggerRule = TriggerRule()
    given: tuple[tuple[tuple[str, ...], ...], ...] = Field(
        default=(),
        max_length=MOST_GIVEN,
        description="Your own triggers: of each the words for the first text, and those for "
        "the second.",
    )
    positions: tuple[tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...], ...] = Field(
        default=(),
        exclude_if=operator.not_,  # the hashes of specifications from before it stay the same
        description="Where the given words go, a number for each in the same form: 0 is the start "
        "of its text, 1 the end. Default: evenly spread.",
    )
    controls: Controls = Controls()
    models: tuple[ModelSpec, ...] = Field(
        default=(), max_length=8, description="Other models that the same triggers are tried on."
    )
    insertion: Literal["tokens", "text"] = Field(
        default="tokens",
        description="'tokens' (word pieces, as the official code) or 'text' (words as one types).",
    )
    segments: Literal["both", "premise", "hypothesis"] = Field(
        default="both", description="Which texts of a pair get their part of a trigger."
    )
    outcomes: bool = Field(
        default=True, description="Store the prediction of every text with every trigger."
    )

    model_from: ClassVar[str | None] = "triggers_from"

    @property
    def needs_gold(self) -> bool:
        """True unless all triggers are given: rates are by gold class."""
        return self.triggers_from is not None or self.data.label_column is not None

    @property
    def other_models(self) -> dict[str, ModelSpec]:
        """The models to transfer to, by field."""
        return {f"models.{number}": model for number, model in enumerate(self.models)}

    def with_other_models(self, models: Sequence[ModelSpec]) -> Self:
        """A copy with these models to transfer to."""
        return self.model_copy(update={"models": tuple(models)})

    def references(self) -> tuple[Reference, ...]:
        """The attribution job, on any model: triggers may be tried on others."""
        if self.triggers_from is None:
            return ()
        found = Reference(
            field="triggers_from", job=self.triggers_from, kinds=("attribution",), same_model=False
        )
        return (found,)

    def misfits(self, labels: tuple[str, ...], outputs: Outputs) -> list[Problem]:
        """A model with a single output, which has no classes."""
        return self.classless(outputs, Outputs.CLASSES, Outputs.LABELS)

    def cost(self, layers: int, heads: int) -> float:
        """Forward passes, if every class gives as many triggers as it may."""
        mined = 0
        if self.triggers_from is not None:
            most = self.rule.per_class or self.rule.examples / CLASSES_ASSUMED
            mined = round(CLASSES_ASSUMED * most)
        return self.passes(mined * (1 + self.controls.random + self.controls.attention))

    def passes(self, mined: int) -> float:
        """Forward passes per example, with `mined` triggers and controls besides the given ones."""
        return float((1 + mined + len(self.given)) * (1 + len(self.models)))

    def result_bytes(self, layers: int, heads: int) -> float:
        """A row for the prediction with each trigger."""
        return ROW_BYTES * (self.cost(layers, heads) if self.outcomes else 1)

    @field_validator("given")
    @classmethod
    def _words(
        cls, value: tuple[tuple[tuple[str, ...], ...], ...]
    ) -> tuple[tuple[tuple[str, ...], ...], ...]:
        for trigger in value:
            words = [word for part in trigger for word in part]
            if not 1 <= len(trigger) <= 2 or not 1 <= len(words) <= MOST_WORDS:
                raise ValueError(
                    f"each trigger is one or two lists with 1 to {MOST_WORDS} words together"
                )
            if any(not word or len(word) > 100 or word.split() != [word] for word in words):
                raise ValueError("each word must be of 1 to 100 characters without blanks")
        return value

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """The rates of mined triggers, which are by gold class."""
        mined = given.get("triggers_from") is not None
        return "an attack needs data.label_column: gold labels" if mined else None

    @model_validator(mode="after")
    def _has_triggers(self) -> AttackSpec:
        if self.triggers_from is None and not self.given:
            message = "an attack needs triggers_from, an attribution job, or given triggers"
            raise at("triggers_from", message)
        if self.given and self.insertion == "tokens":
            message = "given triggers are inserted as text: insertion must be 'text'"
            raise at("insertion", message)
        words, places = (
            [[len(part) for part in parts] for parts in given]
            for given in (self.given, self.positions)
        )
        if places and places != words:
            message = "positions needs one number for each given word, in the same form"
            raise at("positions", message)
        columns = len(self.data.text_columns)
        if any(part for trigger in self.given for part in trigger[columns:]):
            message = "a given trigger has words for a second text; data has one column"
            raise at("given", message)
        return self


def given_triggers(
    given: Sequence[Sequence[Sequence[str]]], positions: Sequence[Sequence[Sequence[float]]] = ()
) -> list[tuple[TriggerToken, ...]]:
    """The given triggers, in the order of their places; by default evenly spread over the text."""
    spread = [[[(n + 1) / (len(part) + 1) for n in range(len(part))] for part in t] for t in given]
    return [
        tuple(
            TriggerToken(word, segment, place, word)
            for segment, (words, places) in enumerate(zip(trigger, where, strict=True))
            for word, place in sorted(zip(words, places, strict=True), key=itemgetter(1))
        )
        for trigger, where in zip(given, positions or spread, strict=True)
    ]


def readable(tokens: Iterable[TriggerToken]) -> str:
    """A trigger in one line; a bar separates its parts for the two texts."""
    parts = {
        segment: " ".join(token.token for token in own)
        for segment, own in groupby(tokens, key=lambda token: token.segment)
    }
    return f"{parts.get(0, '')} | {parts[1]}".strip() if 1 in parts else parts.get(0, "")


@dataclass(frozen=True, kw_only=True)
class ModelOutcome:
    """Predictions of one model with T triggers in E examples, in the labels of the job's model."""

    after: Ints
    """[T, E] label predicted with the trigger; -1 where it was not put into the example."""
    probabilities: Floats
    """[T, E, C]"""
    sums: AttackSums

    @classmethod
    def joined(cls, parts: Sequence[ModelOutcome]) -> ModelOutcome:
        """The outcomes of neighbouring ranges of examples as those of one."""
        return cls(
            after=np.concatenate([part.after for part in parts], axis=1),
            probabilities=np.concatenate([part.probabilities for part in parts], axis=1),
            sums=reduce(add, (part.sums for part in parts)),
        )


@dataclass(frozen=True, kw_only=True)
class AttackResult(ShardResult):
    """Predictions of every model for the examples of a shard, with every trigger."""

    triggers: tuple[int, ...]
    """The numbers of the T triggers that were tried."""
    attention: dict[int, tuple[TriggerToken, ...]]
    """The tokens of the attention controls among them, which only a worker can find."""
    models: tuple[ModelOutcome, ...]
    """The job's own model first."""
    keep_outcomes: bool
    """Store the prediction of every text, not only the counts."""

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Join the outcomes of each model; the triggers are the same in all parts."""
        if name == "models":
            return tuple(ModelOutcome.joined(parts) for parts in zip(*values, strict=True))
        return super().join(name, values)


@dataclass(frozen=True, kw_only=True)
class TriggerSums:
    """Counts of one trigger with one model and gold class, over a shard or a job."""

    trigger: int
    model: int
    gold: int
    n: int
    before_correct: int
    after_correct: int
    flipped: tuple[int, ...]
    """By class: examples that were predicted correctly and are now predicted as that class; 0 at
    `gold`."""


def shard_sums(result: AttackResult) -> list[TriggerSums]:
    """The counts of a shard, without those of no example."""
    found = []
    for model, outcome in enumerate(result.models):
        sums = outcome.sums
        n, before, after, flips = sums.n, sums.correct_before, sums.correct_after, sums.flips
        found += [
            TriggerSums(
                trigger=result.triggers[row],
                model=model,
                gold=gold,
                n=int(n[row, gold]),
                before_correct=int(before[row, gold]),
                after_correct=int(after[row, gold]),
                flipped=tuple(flips[row, gold].tolist()),
            )
            for row, gold in np.argwhere(n > 0).tolist()
        ]
    return found


@dataclass(frozen=True, kw_only=True)
class TriggerResult:
    """The rates of one trigger with one model and gold class, with their 95 % intervals."""

    sums: TriggerSums
    kind: TriggerKind
    accuracy_before: tuple[float | None, float | None, float | None]
    """Value, low and high."""
    accuracy_after: tuple[float | None, float | None, float | None]
    success: tuple[float | None, float | None, float | None]
    """Share of the correctly predicted examples that the trigger makes wrong; None where no example
    was predicted correctly."""
    rank: int
    """Place among the triggers of its type with that model and class: 1 has the highest success;
    ties go to the one that leaves fewer correct, then to the earlier one."""


def merged(shards: Iterable[TriggerSums]) -> list[TriggerSums]:
    """The sums of several shards, by trigger, model and class."""
    ordered = sorted(shards, key=_place)
    return [_added(list(parts)) for _, parts in groupby(ordered, key=_place)]


def trigger_results(
    sums: Sequence[TriggerSums], kinds: dict[int, TriggerKind]
) -> list[TriggerResult]:
    """Rates and ranks of all triggers; `kinds` holds the type of each."""
    n = [one.n for one in sums]
    before = [one.before_correct for one in sums]
    rates = (
        share(before, n),
        share([one.after_correct for one in sums], n),
        share([sum(one.flipped) for one in sums], before),
    )
    values = [
        [tuple(_known(float(part[row])) for part in rate) for rate in rates]
        for row in range(len(sums))
    ]

    def order(row: int) -> tuple[int, int, str, float, float, int]:
        success, after = values[row][2][0], values[row][1][0]
        one = sums[row]
        low = math.inf if success is None else -success
        return (one.model, one.gold, kinds[one.trigger], low, after or 0.0, one.trigger)

    ranks: dict[int, int] = {}
    for _, rows in groupby(sorted(range(len(sums)), key=order), key=lambda row: order(row)[:3]):
        ranks |= {row: rank for rank, row in enumerate(rows, start=1)}
    return [
        TriggerResult(
            sums=one,
            kind=kinds[one.trigger],
            accuracy_before=values[row][0],  # type: ignore[arg-type]
            accuracy_after=values[row][1],  # type: ignore[arg-type]
            success=values[row][2],  # type: ignore[arg-type]
            rank=ranks[row],
        )
        for row, one in enumerate(sums)
    ]


def attack_hash(triggers: Iterable[tuple[int, str, str]], sums: Iterable[TriggerSums]) -> str:
    """SHA-256 over the triggers (number, type, tokens) and their counts."""
    lines = [" ".join(map(str, trigger)) for trigger in triggers]
    lines += [
        f"{s.trigger} {s.model} {s.gold} {s.n} {s.before_correct} {s.after_correct} {s.flipped}"
        for s in sums
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _place(sums: TriggerSums) -> tuple[int, int, int]:
    return sums.trigger, sums.model, sums.gold


def _added(parts: list[TriggerSums]) -> TriggerSums:
    return TriggerSums(
        trigger=parts[0].trigger,
        model=parts[0].model,
        gold=parts[0].gold,
        n=sum(part.n for part in parts),
        before_correct=sum(part.before_correct for part in parts),
        after_correct=sum(part.after_correct for part in parts),
        flipped=tuple(sum(column) for column in zip(*(p.flipped for p in parts), strict=True)),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


SPEC, RESULT = AttackSpec, AttackResult
