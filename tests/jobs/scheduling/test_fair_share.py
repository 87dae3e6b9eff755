"""Weights of users, as settings give them."""

from __future__ import annotations

import pytest

from jobs.errors import InputError
from jobs.settings import load_settings


@pytest.mark.parametrize(
    ("user", "weight"),
    [("ann", 2.0), ("ANN", 2.0), ("nlp-ann", 3.0), ("nlp-bo", 3.0), ("bo", 0.5), ("annabel", 0.5)],
)
def test_the_first_pattern_that_matches_counts(user: str, weight: float) -> None:
    rules = load_settings({"HEADWISE_USER_WEIGHTS": "ann=2, nlp-*=3, *=0.5,"}).fair_share
    assert rules.weight(user) == weight


def test_without_weights_everyone_has_one() -> None:
    assert load_settings({}).fair_share.weight("ann") == 1.0


@pytest.mark.parametrize("text", ["ann", "ann=", "=2", "ann=two", "ann=0", "ann=1000", "a=nan"])
def test_other_weights_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InputError) as refused:
        load_settings({"HEADWISE_USER_WEIGHTS": f"bo=1, {text}"})
    assert repr(text) in str(refused.value)
    assert "NAME=WEIGHT" in str(refused.value)
