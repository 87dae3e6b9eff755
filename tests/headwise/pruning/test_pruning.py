"""Curves, the choice of what can go, and the rule that importance has examples of its own."""

import numpy as np
import pytest

from headwise.encoding import from_arrays
from headwise.errors import OptionError
from headwise.pruning.curve import choose, curve_points, overlap, prune_curve, require_disjoint
from headwise.pruning.importance import summarize
from headwise.pruning.masking import evaluate_masks
from tests.helpers.classifiers import random_inputs, tiny

LENGTHS = (9, 4, 7, 8, 3, 6)
GOLD = [0, 1, 2, 0, 1, 2]


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def encoded(model):
    return from_arrays(random_inputs(model, LENGTHS))


def means(count=1):
    return [np.random.default_rng(seed).random((3, 4)) for seed in range(count)]


def test_a_curve_has_a_row_per_source_direction_and_step(model, encoded):
    one, other = means(2)
    importance = summarize("taylor", one[None])
    curve = prune_curve(
        model,
        None,
        encoded,
        GOLD,
        {"taylor": importance, "random": [one, other]},
        shares=[0, 0.5, 1],
    )
    frame = curve.to_dataframe()
    assert len(frame) == 3 * 2 * 3
    # Nothing, all, and a half in two directions for each of two different means.
    assert len(curve.evaluation.masks) == 2 + 2 * 2
    assert frame["removed"].tolist() == [0, 6, 12] * 6
    assert frame["share"].tolist() == [0, 0.5, 1] * 6
    assert frame["draw"].tolist() == [0] * 12 + [1] * 6
    assert (frame["n"] == 6).all()
    row = frame[(frame.source == "random") & (frame.draw == 1) & (frame.direction == "most")].iloc[
        1
    ]
    mask = other >= np.sort(other.ravel())[6]
    alone = evaluate_masks(model, None, encoded, GOLD, mask[None])
    assert row["loss"] == pytest.approx(alone.loss.mean())
    assert row["accuracy"] == pytest.approx(np.mean(alone.correct))
    assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    assert row["macro_f1_low"] <= row["macro_f1"] <= row["macro_f1_high"]


def test_bad_curves_are_refused():
    with pytest.raises(OptionError, match="at least one importance"):
        curve_points({})
    with pytest.raises(OptionError, match="from 0 to 12 heads"):
        curve_points({"x": means()[0]}, steps=[13])


def test_examples_of_the_importance_are_not_evaluated_on(model, encoded):
    arguments = (model, None, encoded, GOLD, {"x": means()[0]})
    with pytest.raises(
        OptionError, match=r"2 of 6 texts were used before, the first is texts\[1\]"
    ):
        prune_curve(*arguments, importance_texts=encoded[1:3])
    allowed = prune_curve(*arguments, importance_texts=encoded, allow_overlap=True, steps=[0])
    assert len(allowed.points) == 2


def test_overlap_is_by_text():
    used = ["a", ("a", "b")]
    assert overlap(used, ["b", ["a", "b"], "a", ("b", "a")]) == [1, 2]
    require_disjoint(used, ["b"])


def test_the_most_heads_that_can_go_are_chosen_on_one_set_and_verified_on_another(model):
    search = from_arrays(random_inputs(model, LENGTHS * 2, seed=1))
    held_out = from_arrays(random_inputs(model, LENGTHS, seed=2))
    (mean,) = means()
    whole = np.zeros((1, 3, 4), bool)
    # The model is right throughout, by definition; some heads can go without harm to some.
    gold = evaluate_masks(model, None, search, [0] * 12, whole).predicted[0]
    gold_held = evaluate_masks(model, None, held_out, [0] * 6, whole).predicted[0]
    choice = choose(model, None, (search, gold.tolist()), (held_out, gold_held.tolist()), mean, 50)
    accuracy = choice.search.accuracy().value
    assert choice.steps.tolist() == list(range(13))
    assert accuracy[choice.removed] >= 0.5 > accuracy[choice.removed + 1 :].max(initial=0)
    assert choice.mask.sum() == choice.removed
    alone = evaluate_masks(model, None, held_out, gold_held.tolist(), choice.mask[None])
    right = np.mean(alone.correct)
    assert choice.held_out.accuracy().value.tolist() == [1, pytest.approx(right)]
    assert choice.verified == (right >= 0.5)


def test_a_choice_is_refused_where_it_proves_nothing(model, encoded):
    with pytest.raises(OptionError, match="texts were used before"):
        choose(model, None, (encoded, GOLD), (encoded, GOLD), means()[0], 1)
    with pytest.raises(OptionError, match="points must be from 0 to 100"):
        choose(model, None, (encoded, GOLD), (encoded, GOLD), means()[0], -1)
