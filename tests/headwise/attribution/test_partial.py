"""A call that is stopped keeps its finished batches, and another one completes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import headwise
from headwise.options import Partial
from tests.helpers.classifiers import random_inputs, tiny

LENGTHS = (4, 4, 7, 7, 7, 12, 12, 20)


@pytest.fixture(autouse=True)
def several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of different lengths do not share a batch, however few they are."""
    monkeypatch.setattr("headwise.attribution.batches._BATCH_COST", 0)


class Enough(Exception):  # noqa: N818 - a request, not an error
    pass


@pytest.mark.parametrize("threads", [1, 2])
def test_the_parts_are_those_of_one_call(threads: int) -> None:
    model = tiny("bert")
    inputs = random_inputs(model, LENGTHS)
    torch.set_num_threads(threads)
    try:
        whole = headwise.attribute_encoded(model, inputs, rtol=1e-2)
        scores = np.full_like(whole.scores, np.nan)
        partial, parts, passes = Partial(stops_on=Enough), 0, 2
        while len(partial.finished) < len(inputs):
            left = [passes]

            def stop(*_: int, left: list[int] = left) -> None:
                left[0] -= 1
                if not left[0]:
                    raise Enough

            before, partial.stopped = set(partial.finished), None
            found = headwise.attribute_encoded(
                model, inputs, rtol=1e-2, progress=stop, partial=partial
            )
            new = sorted(partial.finished - before)
            scores[new] = found.scores[new]
            assert np.isnan(found.scores[sorted(before)]).all()
            parts += bool(new)
            passes = 2 if new else passes * 2
    finally:
        torch.set_num_threads(1)
    # How many parts there are depends on which of two threads is ahead.
    assert parts > 1
    np.testing.assert_array_equal(scores, whole.scores)


def test_other_exceptions_end_the_call() -> None:
    model = tiny("bert")

    def stop(*_: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        headwise.attribute_encoded(
            model, random_inputs(model, (4,)), progress=stop, partial=Partial(stops_on=Enough)
        )
