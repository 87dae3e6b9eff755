"""The host's part of a batch, while the device computes the next one."""

from __future__ import annotations

import threading

import pytest
import torch

import headwise
from headwise.attribution import cpu_parallel
from headwise.attribution.batches import Host
from headwise.options import Partial
from tests.helpers.classifiers import random_inputs, tiny

SOON = 60.0
"""Seconds after which a test has failed: what is waited for comes at once."""


def test_a_batch_is_finished_when_the_host_has_done_its_part() -> None:
    finished: set[int] = set()
    go, began = threading.Event(), threading.Event()

    def left() -> None:
        began.set()
        assert go.wait(SOON)

    with Host(finished, beside=True) as host:
        host.finish([0, 1], left)
        assert began.wait(SOON)
        assert finished == set()
        go.set()
        host.finish([2], None)
        assert finished == {0, 1, 2}
        host.finish([3], left)
    assert finished == {0, 1, 2, 3}


def test_it_is_done_at_once_where_batches_run_side_by_side() -> None:
    finished: set[int] = set()
    with Host(finished, beside=False) as host:
        host.finish([0], lambda: None)
        assert finished == {0}
        assert not host.wait()


def test_an_error_of_the_host_is_raised() -> None:
    finished: set[int] = set()

    def left() -> None:
        raise MemoryError

    host = Host(finished, beside=True)
    host.finish([0], left)
    with pytest.raises(MemoryError), host:
        host.finish([1], None)
    with pytest.raises(MemoryError), Host(finished, beside=True) as host:
        host.finish([0], left)
    assert finished == set()


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
