"""The host's part of a batch, while the device computes the next one."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

import headwise
from headwise.attribution import cpu_parallel
from headwise.attribution.batches import Host
from headwise.attribution.collect import Collector
from headwise.attribution.engine import begin_attribution
from headwise.encoding import from_arrays
from headwise.options import Partial
from tests.helpers.classifiers import random_inputs, tiny

SOON = 60.0
"""Seconds after which a test has failed: what is waited for comes at once."""


def test_a_batch_is_finished_when_the_host_has_done_its_part() -> None:
    host = Host(set(), beside=True)
    go, began = threading.Event(), threading.Event()

    def left() -> None:
        began.set()
        assert go.wait(SOON)

    host.finish([0, 1], left)
    assert began.wait(SOON)
    assert host.finished == set()
    go.set()
    host.finish([2], None)
    assert host.finished == {0, 1, 2}
    host.finish([3], left)
    host.close()
    assert host.finished == {0, 1, 2, 3}


def test_it_is_done_at_once_where_batches_run_side_by_side() -> None:
    host = Host(set(), beside=False)
    host.finish([0], lambda: None)
    assert host.finished == {0}
    assert not host.wait()


def test_an_error_of_the_host_is_raised() -> None:
    def left() -> None:
        raise MemoryError

    host = Host(set(), beside=True)
    host.finish([0], left)
    with pytest.raises(MemoryError):
        host.finish([1], None)
    host.finish([2], left)
    with pytest.raises(MemoryError):
        host.close()
    assert host.finished == set()


def test_the_last_batch_is_collected_when_the_device_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the next texts can be computed meanwhile."""
    model = tiny()
    inputs = random_inputs(model, (4, 9, 12))
    whole = headwise.attribute_encoded(model, inputs)
    go, add = threading.Event(), Collector.add

    def slow(self: Collector, *arguments: Any) -> None:
        assert go.wait(SOON)
        add(self, *arguments)

    monkeypatch.setattr(Collector, "add", slow)
    first = begin_attribution(model, from_arrays(inputs[:2]))
    second = begin_attribution(model, from_arrays(inputs[2:]))
    go.set()
    for result, expected in ((first(), whole.scores[:2]), (second(), whole.scores[2:])):
        np.testing.assert_allclose(result.scores, expected, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stop_keeps_the_batch_that_is_being_collected(threads: int) -> None:
    """Its numbers are those of a call that is not stopped."""
    model = tiny()
    inputs = random_inputs(model, (4, 9, 12, 5, 7))
    whole = headwise.attribute_encoded(model, inputs, token_budget=8)

    class StopError(Exception):
        pass

    def stop_at(done: int) -> None:
        if done >= 2:
            raise StopError

    first = Partial(stops_on=StopError)
    with cpu_parallel.torch_threads(threads):
        stopped = headwise.attribute_encoded(
            model, inputs, token_budget=8, partial=first, progress=lambda done, _: stop_at(done)
        )
    assert isinstance(first.stopped, StopError)
    assert 2 <= len(first.finished) < 5
    for example in first.finished:
        got = torch.from_numpy(stopped.scores[example])
        torch.testing.assert_close(got, torch.from_numpy(whole.scores[example]), rtol=1e-5, atol=0)
        assert stopped.interactions[example] == whole.interactions[example]
