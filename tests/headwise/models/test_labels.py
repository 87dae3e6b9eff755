"""Names of outputs, and what a label in the data means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.errors import OptionError
from headwise.models.labels import (
    Labels,
    UnknownLabelError,
    label_index,
    label_names,
    listed,
    read_labels,
)

NLI = ("entailment", "neutral", "contradiction")
STARS = ("1", "2", "3", "4", "5")
PLAIN = ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("id2label", "outputs", "names"),
    [
        ({"0": "no", "1": "yes"}, 2, ("no", "yes")),
        ({0: "no", 1: "yes"}, 2, ("no", "yes")),
        ({"1": "yes", "0": "no"}, 2, ("no", "yes")),
        ({"10": "k", **{str(n): str(n) for n in range(10)}}, 11, (*"0123456789", "k")),
        (None, 2, ("LABEL_0", "LABEL_1")),
        ({}, 1, ("LABEL_0",)),
        # Names that are not those of all outputs are not used.
        ({"0": "no", "1": "yes"}, 5, tuple(f"LABEL_{n}" for n in range(5))),
        ({"0": "no", "2": "maybe"}, 3, PLAIN),
        ({"1": "a", "2": "b", "3": "c"}, 3, PLAIN),
        ({"0": "a", "1": "b", "2": "c"}, 2, ("LABEL_0", "LABEL_1")),
        ({"a": "x"}, 1, ("LABEL_0",)),
        # Each name is that of one output.
        ({"0": "other", "1": "yes", "2": "other"}, 3, ("other (0)", "yes", "other (2)")),
        ({"0": 1, "1": 2}, 2, ("1", "2")),
    ],
)
def test_outputs_have_names_in_their_order(
    id2label: dict[Any, Any] | None, outputs: int, names: tuple[str, ...]
) -> None:
    assert label_names(id2label, outputs) == names


@pytest.mark.parametrize(
    ("values", "names", "indices", "by"),
    [
        (["neutral", "entailment"], NLI, (1, 0), "name"),
        (["Neutral", " ENTAILMENT "], NLI, (1, 0), "name"),
        ([1, 0, 2], NLI, (1, 0, 2), "index"),
        (["1", "0", "2"], NLI, (1, 0, 2), "index"),
        (["1.0", "3.0", "-1.0"], ("1", "2", "3"), (0, 2, None), "name"),
        (["1.0", 2, 2.0], ("1.0", "2.0"), (0, 1, 1), "name"),
        (["1", "1.0"], ("1.0", "1"), (1, 1), "name"),
        ([1.0, 0.0], NLI, (1, 0), "index"),
        (["1.0", "0.0"], NLI, (1, 0), "index"),
        ([1.0, math.nan, None], NLI, (1, None, None), "index"),
        (["", "-1", "neutral"], NLI, (None, None, 1), "name"),
        ([-1, 2], NLI, (None, 2), "index"),
        ([np.int64(2), np.float64(1.0)], NLI, (2, 1), "index"),
        ([], NLI, (), "nothing"),
        ([None, ""], NLI, (None, None), "nothing"),
        # A name comes first, whatever the file's types are.
        ([1, 2, 5], STARS, (0, 1, 4), "name"),
        (["1", "2", "5"], STARS, (0, 1, 4), "name"),
        ([1.0, 2.0, 5.0], STARS, (0, 1, 4), "name"),
        ([0, 1, 2], STARS, (0, 1, 2), "index"),
        (["-1", "1"], ("-1", "0", "1"), (0, 2), "name"),
        # Names that differ in case only are told apart by it.
        (["No", "no"], ("no", "No"), (1, 0), "name"),
        ([True, False], ("False", "True"), (1, 0), "name"),
    ],
)
def test_a_column_is_names_or_indices(
    values: list[object], names: tuple[str, ...], indices: tuple[int | None, ...], by: str
) -> None:
    assert read_labels(values, names) == Labels(indices=indices, by=by)


@pytest.mark.parametrize(
    ("values", "names", "row"),
    [
        (["neutral", "netural"], NLI, 1),
        (["neutral", 1], NLI, 1),  # never both
        ([0, "neutral"], NLI, 1),
        ([0, 3], NLI, 1),
        ([0, -2], NLI, 1),
        ([1, 1.9], NLI, 1),
        ([1, True], NLI, 1),
        ([1, "1e0"], NLI, 1),
        ([0, "²"], NLI, 1),
        ([0, math.inf], NLI, 1),
        (["NO"], ("no", "No"), 0),
        ([0, 6], STARS, 1),
    ],
)
def test_the_first_row_that_fits_neither_is_named(
    values: list[object], names: tuple[str, ...], row: int
) -> None:
    with pytest.raises(UnknownLabelError) as refused:
        read_labels(values, names)
    assert (refused.value.row, refused.value.value) == (row, values[row])


@pytest.mark.parametrize(
    ("label", "index"),
    [("neutral", 1), (2, 2), (np.int64(0), 0), (1.0, 1), (np.float32(2), 2)],
)
def test_a_single_label_is_a_name_or_an_index(label: object, index: int) -> None:
    assert label_index(label, NLI, "target") == index


@pytest.mark.parametrize("label", [1.9, -1, 3, "Neutral", "1", True, None, math.nan])
def test_a_single_label_is_never_guessed(label: object) -> None:
    with pytest.raises(OptionError, match=r"^gold\[3\]: .*0 entailment, 1 neutral"):
        label_index(label, NLI, "gold[3]")


def test_many_labels_are_listed_shortly() -> None:
    assert listed([f"c{n}" for n in range(1000)]).endswith("19 c19 and 980 more")


@settings(max_examples=80, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(categories=["L", "Nd", "P"]), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
        unique_by=str.casefold,
    ),
    data=st.data(),
)
def test_every_label_is_found_by_its_name_and_by_its_index(
    names: list[str], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(names) - 1))
    name = names[index]
    assert read_labels([f" {name} "], names).indices == (index,)
    if str(index) not in names:
        assert read_labels([index], names) == read_labels([str(index)], names)
        assert read_labels([index], names).indices == (index,)


@settings(max_examples=80, deadline=None)
@given(raw=st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_any_value_is_a_label_or_missing_or_refused(raw: object) -> None:
    try:
        (found,) = read_labels([raw], NLI).indices
    except UnknownLabelError as error:
        assert (error.row, error.value) == (0, raw) or raw != raw  # noqa: PT017
    else:
        assert found is None or found in range(3)
