"""The GPU's script, as far as a CPU can tell."""

import pytest
import torch

import headwise
from benchmarks import gpu
from tests.helpers.classifiers import random_inputs, tiny


def test_without_a_cuda_device_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert "no CUDA device here" in capsys.readouterr().err


def test_a_line_has_times_and_errors():
    model = tiny(dtype=torch.float32, layers=2, spread=0.05)
    inputs = random_inputs(model, [8, 8, 8])
    truth = headwise.attribute_encoded(model, inputs[:2], target=0, integration="gauss-legendre:16")
    settings = [("float32", 1e-3), ("bf16", 1e-2)]
    lines = gpu.measure(model, inputs, truth, repeats=1, settings=settings)
    assert [line.precision for line in lines] == ["float32", "bf16"]
    assert all(line.batched > 0 and line.single > 0 for line in lines)
    assert lines[0].errors.max() == pytest.approx(0, abs=1e-3)
    assert lines[1].errors.max() < 0.3  # bf16 has 8 bits
    assert gpu.table(lines).count("\n") == 3
