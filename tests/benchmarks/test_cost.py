"""The floor counts what a pass by hand through the model's own linear layers computes."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cost import Shape, forward_flops, matrix_rate, needed_flops
from tests.helpers.classifiers import tiny

N = 7


def through(layer, x, out, rows):
    """One layer's linear layers, without attention; ``out`` takes the place of its output O."""
    if out is None:
        attention = layer.attention.self
        # The keys and values of one row only: what the engine makes of those of the last layer.
        out = attention.query(x[:rows]) + attention.key(x[:rows]) + attention.value(x[:rows])
    h = layer.attention.output.dense(out[:rows])
    return layer.output.dense(layer.intermediate.dense(h))


def flops_from(model, site):
    """FLOPs of the linear layers from one module's O to the last layer's first row and back."""
    layers = model.bert.encoder.layer
    out = torch.randn(N, 32, dtype=torch.float64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        x, given = None, out
        for index in range(site, len(layers)):
            x = through(layers[index], x, given, 1 if index == len(layers) - 1 else N)
            given = None
        torch.autograd.grad(x.sum(), out)
    return counter.get_total_flops()


def flops_of_forward(model):
    x = torch.randn(N, 32, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        for layer in model.bert.encoder.layer:
            x = through(layer, x, None, N)
    return counter.get_total_flops()


@pytest.fixture
def model():
    return tiny().requires_grad_(False)


def test_a_plain_forward_pass_counts_all_layers(model):
    shape = Shape.of(model)
    assert forward_flops(shape, np.array([N, N])) == 2 * flops_of_forward(model)


def test_recording_and_every_point_but_the_shared_one_count(model):
    points = [3, 5, 2]
    by_hand = 2 * flops_of_forward(model)
    by_hand += sum((p - 1) * flops_from(model, site) for site, p in enumerate(points))
    assert needed_flops(Shape.of(model), np.array([N]), np.array([points])) == by_hand


def test_examples_add_up(model):
    shape, lengths = Shape.of(model), np.array([4, 9])
    points = np.array([[2, 2, 3], [4, 3, 6]])
    alone = [needed_flops(shape, lengths[i : i + 1], points[i : i + 1]) for i in range(2)]
    assert needed_flops(shape, lengths, points) == sum(alone)


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="distilbert"):
        Shape.of(tiny("distilbert"))


def test_the_rate_is_that_of_a_matrix_product(model):
    rate = matrix_rate(Shape.of(model), torch.device("cpu"))
    assert 0 < rate < 1e15
