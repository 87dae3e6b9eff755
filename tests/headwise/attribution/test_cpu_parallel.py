"""Several batches at a time give what one at a time gives, and end together."""

import signal
import threading

import numpy as np
import pytest
import torch

import headwise
from headwise.attribution import cpu_parallel, engine
from headwise.replay import Replay
from tests.helpers.classifiers import random_inputs, tiny

LENGTHS = [9, 8, 8, 7, 5, 5, 4, 3]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.fixture
def batches(monkeypatch):
    """The thread and the model of every batch."""
    seen = []
    whole = engine._Call.attribute

    def spy(call, replay, *rest):
        seen.append((threading.get_ident(), id(replay.model)))
        return whole(call, replay, *rest)

    monkeypatch.setattr(engine._Call, "attribute", spy)
    return seen


def meet_in_every_thread(monkeypatch, then):
    """Call ``then(is_main)`` in the first batch of each of two threads, when both have one."""
    barrier = threading.Barrier(2, timeout=20)
    whole = engine._Call.attribute
    met = threading.local()

    def held(*given):
        if not hasattr(met, "here"):
            met.here = True
            barrier.wait()
            then(threading.current_thread() is threading.main_thread())
        return whole(*given)

    monkeypatch.setattr(engine._Call, "attribute", held)


def attribute(model, **options):
    return headwise.attribute_encoded(
        model, random_inputs(model, LENGTHS), token_budget=80, **options
    )


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_two_threads_give_the_numbers_of_one(kind, precision, two_threads, batches, monkeypatch):
    model = tiny(kind, dtype=torch.float32)
    with monkeypatch.context() as patched:
        meet_in_every_thread(patched, lambda _: None)
        both = attribute(model, precision=precision)
    used = set(batches)
    batches.clear()
    torch.set_num_threads(1)
    alone = attribute(model, precision=precision)
    torch.set_num_threads(2)
    assert len(used) == len({model for _, model in used}) == 2
    assert {thread for thread, _ in batches} == {threading.get_ident()}
    assert both.errors == alone.errors == (None,) * len(LENGTHS)
    tolerance = 1e-5 if precision == "float32" else 1e-2
    np.testing.assert_allclose(both.scores, alone.scores, atol=tolerance * alone.scores.max())


def test_two_threads_twice_give_the_same_bytes(two_threads):
    model = tiny("bert", dtype=torch.float32)
    one, two = (attribute(model, deterministic=True) for _ in range(2))
    assert one.scores.tobytes() == two.scores.tobytes()


def test_a_twin_shares_its_parameters_and_no_module():
    model = tiny("bert")
    with Replay(model) as replay:
        twin = replay.twin()
        pairs = zip(model.parameters(), twin.model.parameters(), strict=True)
        assert all(mine is theirs for mine, theirs in pairs)
        assert not set(model.modules()) & set(twin.model.modules())
        layers = {layer.module for layer in twin.structure.layers}
        assert layers <= set(twin.model.modules())


@pytest.mark.parametrize("in_main", [True, False])
def test_an_error_in_one_thread_ends_all(in_main, two_threads, monkeypatch):
    model = tiny("bert")

    def fail(is_main):
        if is_main is in_main:
            raise OSError("broken thread")  # no error that a text may cause

    meet_in_every_thread(monkeypatch, fail)
    others = set(threading.enumerate())  # other tests' libraries may keep threads
    with pytest.raises(OSError, match="broken thread"):
        attribute(model)
    assert set(threading.enumerate()) <= others
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_ctrl_c_ends_all_threads(two_threads, monkeypatch):
    model = tiny("bert")

    def interrupt(is_main):
        if is_main:
            signal.raise_signal(signal.SIGINT)

    meet_in_every_thread(monkeypatch, interrupt)
    others = set(threading.enumerate())
    # A shell's background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            attribute(model)
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(threading.enumerate()) <= others
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_progress_is_told_in_the_callers_thread(two_threads):
    told = []
    attribute(tiny("bert"), progress=lambda done, _: told.append((threading.get_ident(), done)))
    threads, done = zip(*told, strict=True)
    assert set(threads) == {threading.get_ident()}
    assert list(done) == sorted(done)
    assert done[-1] == len(LENGTHS)


def test_a_model_that_cannot_be_copied_has_one_thread(two_threads, batches, monkeypatch):
    def refuse(self):
        raise RuntimeError("only tensors created explicitly by the user can be copied")

    monkeypatch.setattr(Replay, "twin", refuse)
    result = attribute(tiny("bert"))
    assert result.errors == (None,) * len(LENGTHS)
    assert len(set(batches)) == 1


def test_a_batch_for_every_thread_up_to_a_few(two_threads):
    assert cpu_parallel.parallel_batches(torch.device("cpu")) == 2
    assert cpu_parallel.parallel_batches(torch.device("cuda")) == 1
    torch.set_num_threads(9)
    assert cpu_parallel.parallel_batches(torch.device("cpu")) == 4
    torch.set_num_threads(2)
