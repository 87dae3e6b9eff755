"""A model is as before after any interruption, at whatever moment it comes."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import headwise
from headwise.interrupt import interrupts_held
from headwise.options import METHODS
from headwise.replay import Replay
from tests.helpers.classifiers import random_inputs, state, tiny


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("call", [1, 2, 5])
def test_interrupted_in_the_middle_of_a_pass(method, call, checked):
    """By a hook on a module of the last layer: in the checks on entering, or in a pass."""
    model = tiny()
    model.bert.encoder.layer[1].train()
    model.classifier.weight.requires_grad_(False)
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt

    count = 0
    hook = model.bert.encoder.layer[2].output.dense.register_forward_hook(stop)
    before = state(model)
    inputs = random_inputs(model, (5, 9))
    if checked:
        with Replay(model):
            pass  # A model is checked once.
    calls.clear()
    count = call

    def several():
        for _ in range(5):  # some methods run the model once
            headwise.attribute_encoded(model, inputs, method=method)

    with pytest.raises(KeyboardInterrupt):
        several()
    assert state(model) == before
    hook.remove()


LOOP = """
import signal
import sys
import torch
import headwise
from tests.helpers.classifiers import random_inputs, state, tiny
torch.set_num_threads(1)
# A shell's background jobs ignore it, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
model = tiny(dtype=torch.float32)
model.bert.encoder.layer[1].train()
model.classifier.weight.requires_grad_(False)
inputs = random_inputs(model, (6, 9))
ids = torch.tensor(inputs[1]["input_ids"])[None]
def output():
    with torch.no_grad():
        torch.manual_seed(0)
        return model(ids).logits
before, want = state(model), output()
print("ready", flush=True)
interrupted = 0
while interrupted < int(sys.argv[1]):
    try:
        print("go", flush=True)
        while True:
            headwise.attribute_encoded(model, inputs)
    except KeyboardInterrupt:
        interrupted += 1
        assert state(model) == before
        assert torch.equal(output(), want)
print("intact", flush=True)
"""


def test_a_model_survives_real_interrupts():
    """SIGINT sent to a process that attributes all the time, at ever different moments."""
    times = 12
    with subprocess.Popen(
        [sys.executable, "-c", LOOP, str(times)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        pause = threading.Event()
        for line in process.stdout:
            if line == "go\n":
                times -= 1
                pause.wait(0.05 + 0.031 * times)
                process.send_signal(signal.SIGINT)
            elif line == "intact\n":
                break
        assert process.wait(60) == 0, process.stderr.read()
    assert line == "intact\n"


@pytest.mark.parametrize("checked", [True, False])
def test_an_interrupt_waits_for_the_next_check_or_the_end(checked):
    reached = []

    def work():
        with interrupts_held() as check:
            signal.raise_signal(signal.SIGINT)
            reached.append("behind the signal")
            if checked:
                check()
            reached.append("behind the check")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(reached) == (1 if checked else 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_and_threads_are_left_alone():
    def own(*_):
        raise ZeroDivisionError

    before = signal.signal(signal.SIGINT, own)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    done = []
    model = tiny()

    def work():
        done.append(headwise.attribute_encoded(model, random_inputs(model, (3,))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(done) == 1


def test_gradients_of_a_model_are_not_touched():
    model = tiny()
    model(torch.tensor([[2, 3]])).logits.sum().backward()
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    headwise.attribute_encoded(model, random_inputs(model, (4,)))
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert torch.equal(parameter.grad, grad)
