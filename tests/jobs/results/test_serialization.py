"""Results survive as bytes, and bytes of anything else are refused."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from headwise.segmentation import Segmentation, Span
from headwise.stats.attack import AttackSums
from headwise.stats.sums import MaskSums
from jobs.kinds import RESULTS
from jobs.kinds.attack import AttackResult, ModelOutcome
from jobs.kinds.attribution import AttributionResult
from jobs.kinds.importance import ImportanceResult
from jobs.kinds.pruning import PruningResult
from jobs.kinds.triggers import TriggerToken
from jobs.results.base import ExampleResult, ShardResult
from jobs.results.serialization import UnreadableError, from_bytes, to_bytes
from tests.helpers.jobs import importance_of, result_of


def attribution() -> AttributionResult:
    made = result_of(3, 7, failed=frozenset({5}))
    full = ExampleResult(
        predicted=1,
        probabilities=(0.1, 1 / 3),
        tokens=("ä", "[SEP]"),
        words=Segmentation(word_index=(0, 1), spans=(Span(0, 0, 1), None)),
        word_texts=("ä", "[SEP]"),
        token_attribution="[[1e-1,-2e-1]]",
        head_token_attribution=bytes(range(256)),
        interactions="{}",
    )
    return dataclasses.replace(made, examples=(full, *made.examples[1:]))


def pruning() -> PruningResult:
    sums = MaskSums.of(
        np.array([[0.1, 0.7]]), np.array([[0, 1]], np.int32), np.array([1, 1], np.int32), 2
    )
    base = result_of(0, 2)
    return PruningResult(sites=base.sites, examples=base.examples, halves=(sums, sums + sums))


def attack() -> AttackResult:
    base = result_of(0, 2)
    outcome = ModelOutcome(
        after=np.array([[0, 1]]),
        probabilities=np.ones((1, 2, 2), np.float32),
        sums=AttackSums.of(np.array([0, 1]), np.array([0, 1]), np.array([[0, 1]]), 2),
    )
    return AttackResult(
        sites=base.sites,
        examples=base.examples,
        triggers=(4,),
        attention={4: (TriggerToken("a", 0, 0.5, "a"),)},
        models=(outcome,),
        keep_outcomes=True,
    )


MADE: dict[str, ShardResult] = {
    "attribution": attribution(),
    "importance": importance_of(0, 3, failed=frozenset({1})),
    "pruning": pruning(),
    "attack": attack(),
}


def same(one: Any, other: Any) -> None:
    """Equal values, of equal types."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for part, more in zip(one, other, strict=True):
            same(part, more)
    else:
        assert repr(one) == repr(other)


@pytest.mark.parametrize("kind", MADE)
def test_results_come_back_as_they_were(kind: str) -> None:
    made = MADE[kind]
    assert RESULTS[kind] is type(made)
    same(from_bytes(type(made), to_bytes(made)), made)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        pickle.dumps({"a": 1}),
        to_bytes(MADE["attribution"])[:-200],
        to_bytes(MADE["importance"]),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        from_bytes(AttributionResult, data)


def test_results_of_another_release_are_refused() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(ImportanceResult):
        weight: float

    with pytest.raises(UnreadableError, match="weight"):
        from_bytes(Later, to_bytes(MADE["importance"]))


def test_values_of_another_type_are_refused() -> None:
    """Earlier releases held these numbers themselves, not their JSON."""
    made = attribution()
    (first, *others) = made.examples
    earlier = dataclasses.replace(first, **{"token_attribution": [[0.1, -0.2]]})
    stored = to_bytes(dataclasses.replace(made, examples=(earlier, *others)))
    with pytest.raises(UnreadableError, match=r"\[\[0.1, -0.2\]\] in place of str"):
        from_bytes(AttributionResult, stored)
