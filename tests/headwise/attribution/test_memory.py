"""Memory is measured, and passes are no larger than what there is allows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import headwise
from headwise.attribution import batches, memory
from headwise.attribution.evaluator import Evaluator, TokenBudget
from tests.helpers.classifiers import random_inputs, tiny

CPU = torch.device("cpu")
PLENTY = 10**15


@pytest.fixture
def given(monkeypatch):
    """Sets how many bytes are available, and has how many tokens each pass had."""
    seen = SimpleNamespace(bytes=PLENTY, tokens=[])
    run = Evaluator._pass

    def counted(self, requests):
        rows = [len(request.points) for request in requests]
        seen.tokens.append(
            np.dot(rows, [self.tokens_per_row(request.site) for request in requests])
        )
        return run(self, requests)

    monkeypatch.setattr(memory, "available", lambda _: seen.bytes)
    monkeypatch.setattr(Evaluator, "_pass", counted)
    return seen


def measured(model, lengths, budget, **options):
    """The second time: the first holds what torch makes when it needs it."""
    for _ in range(2):
        with memory.measuring(CPU) as peak:
            headwise.attribute_encoded(
                model, random_inputs(model, lengths), token_budget=budget, **options
            )
    return peak.bytes


def test_tensors_are_counted_while_they_are_held():
    before = torch.ones(1000)
    with memory.measuring(CPU) as peak:
        one = before + 1
        view = one.view(10, 100)[1:]
        two = view * 2
        del one, two
        three = before.view(10, 100) * 3  # the storage of `one` is still held, by its view
        assert peak.bytes == 4 * (1000 + 1000)
        del view, three
        before.mul_(2)
    assert peak.bytes == 4 * (1000 + 1000)


def test_what_a_backward_pass_needs_is_counted():
    layer = nn.Linear(8, 8, bias=False)
    x = torch.ones(100, 8, requires_grad=True)
    with memory.measuring(CPU) as peak:
        y = layer(x).relu()
        forward = peak.bytes
        torch.autograd.grad(y.sum(), x)
    assert forward == 4 * 2 * 800
    assert peak.bytes >= 4 * 3 * 800


def test_gpus_count_for_themselves(monkeypatch):
    used = iter((100, 100, 50))
    fakes = {
        "reset_peak_memory_stats": lambda _: None,
        "memory_allocated": lambda _: next(used),
        "max_memory_allocated": lambda _: 900,
        "memory_reserved": lambda _: 400,
        "mem_get_info": lambda _: (5000, 8000),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    with memory.measuring(torch.device("cuda")) as peak:
        pass
    assert peak.bytes == 800
    assert memory.available(torch.device("cuda")) == 5000 + 400 - 100


def test_what_is_available_is_the_least_of_machine_and_control_groups(monkeypatch, tmp_path):
    info, own, root = tmp_path / "meminfo", tmp_path / "own", tmp_path / "groups"
    monkeypatch.setattr(memory, "_MEMINFO", info)
    monkeypatch.setattr(memory, "_OWN_CGROUP", own)
    monkeypatch.setattr(memory, "_CGROUPS", root)
    assert memory.available(CPU) is None  # no Linux
    info.write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n")
    assert memory.available(CPU) == 4_096_000
    job = root / "slurm" / "job"
    job.mkdir(parents=True)
    own.write_text("1:cpu:/\n0::/slurm/job\n")
    for folder, limit, used in ((job, "max", 10), (job.parent, "3000000", 1_000_000)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 400000\n")
    assert memory.available(CPU) == 3_000_000 - (1_000_000 - 400_000)
    (job.parent / "memory.current").write_text("9000000\n")
    assert memory.available(CPU) == 0
    own.unlink()
    assert memory.available(CPU) == 4_096_000


@pytest.mark.parametrize("options", [{}, {"integration": "gauss-legendre:5"}, {"matrices": False}])
def test_the_peak_grows_with_the_budget_as_the_fit_takes_for_granted(options):
    """From one text with four rows to sixteen texts with 64: within a quarter."""
    model = tiny(dtype=torch.float32)
    one = measured(model, (12,), 4 * 12, **options)
    many = measured(model, (12,) * 16, 64 * 12, **options)
    assert 0.75 < many / (16 * one) < 1.25


def test_the_budget_is_fitted_to_memory(given):
    """A model of which sixteen tokens fit gives what it gives with plenty (1e-6, float64)."""
    inputs = random_inputs(tiny(), (6, 5, 6, 4, 6, 6))
    want = headwise.attribute_encoded(tiny(), inputs)
    # All passes of a site fit into one, but for those of the measurement.
    assert max(given.tokens) > 100
    peak = measured(tiny(), (6,), 24)
    given.bytes = 20 * peak / 24 / batches._SHARE * torch.get_num_threads()
    given.tokens.clear()
    model = tiny()
    got = headwise.attribute_encoded(model, inputs)
    assert batches._budgets[model].tokens == 16
    # The measurement has four rows in a pass, the rest as many as are fitted.
    assert max(given.tokens) == 24
    np.testing.assert_allclose(got.scores, want.scores, rtol=0, atol=1e-6)
    given.tokens.clear()
    headwise.attribute_encoded(model, inputs)
    assert max(given.tokens) <= 16


def test_memory_is_measured_once_for_texts_of_a_length_and_a_kind_of_work(given):
    model = tiny()
    for lengths, options, asked in (
        ((6, 5), {}, True),
        ((6, 5, 4), {}, False),
        ((12, 5), {}, False),
        ((13, 5), {}, True),
        ((13, 5), {"method": "attention-gradient"}, True),
        ((30,), {}, False),  # one text: measuring it would be the whole work
        ((30, 9), {"token_budget": 100}, False),
        ((30, 9), {"deterministic": True}, False),
    ):
        given.tokens.clear()
        inputs = random_inputs(model, lengths)
        whole = len(batches._budgets[model].measured) if model in batches._budgets else 0
        headwise.attribute_encoded(model, inputs, **options)
        measured = batches._budgets[model].measured
        kinds = {name.split()[1]: n for name, n in measured.items()}
        if asked:
            assert kinds[options.get("method", "integrated-gradients")] == lengths[0]
        else:
            assert len(measured) == whole
            assert 30 not in measured.values()


def test_where_nobody_tells_what_is_available_nothing_is_measured(given):
    given.bytes = None
    model = tiny()
    headwise.attribute_encoded(model, random_inputs(model, (6, 5)))
    assert batches._budgets[model].measured == {}


def test_no_memory_for_a_measurement_is_left_to_the_batches(given, monkeypatch):
    model = tiny()
    inputs = random_inputs(model, (6, 5, 4))
    want = headwise.attribute_encoded(tiny(), inputs)
    run, failed = Evaluator._pass, []

    def once(self, requests):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return run(self, requests)

    monkeypatch.setattr(Evaluator, "_pass", once)
    monkeypatch.setattr(TokenBudget, "halve", lambda _: (_ for _ in ()).throw(MemoryError()))
    # The pass itself would halve; where even that fails the batch comes next, whole.
    got = headwise.attribute_encoded(model, inputs)
    np.testing.assert_allclose(got.scores, want.scores, rtol=0, atol=1e-6)
