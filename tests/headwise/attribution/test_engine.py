"""Promises of ``attribute`` besides the numbers: batches, memory, restoring, broken examples."""

import dataclasses

import numpy as np
import pytest
import torch

import headwise
import headwise.replay.model
from headwise.attribution.evaluator import Evaluator
from headwise.errors import OptionError
from headwise.replay import Replay
from tests.helpers.classifiers import VOCABULARY, random_inputs, tiny


def numbers(result):
    """All float arrays of a result, and its matrices."""
    arrays = [getattr(result, field.name) for field in dataclasses.fields(result)]
    floats = [a for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    return [*floats, *(matrix for matrix in result.matrices if matrix is not None)]


def assert_close(one, other, tolerance):
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("integration", ["auto", "gauss-legendre:4"])
def test_results_do_not_depend_on_batching(integration):
    """One by one, in small and in large batches, in another order: 1e-5, single precision.

    The cells are at most of magnitude 1 here, so this is absolute.
    """
    model = tiny(dtype=torch.float32, spread=0.15)
    inputs = random_inputs(model, (3, 12, 8, 8, 5, 12, 9, 2, 8, 7))
    options = {"integration": integration, "rtol": 1e-2}
    whole = headwise.attribute_encoded(model, inputs, token_budget=5000, **options)
    small = headwise.attribute_encoded(model, inputs, token_budget=1, **options)
    assert_close(whole, small, 1e-5)
    assert whole.points.tolist() == small.points.tolist()
    back = headwise.attribute_encoded(model, inputs[::-1], token_budget=60, **options)
    np.testing.assert_allclose(back.scores[::-1], whole.scores, atol=1e-5)


def test_budget_is_halved_and_remembered_when_memory_runs_out(monkeypatch):
    """A device with memory for 24 tokens in a pass gives the same result (1e-6, float64)."""
    model = tiny()
    inputs = random_inputs(model, (6, 6, 6, 6, 6))
    want = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:4")
    refused = []
    run = Evaluator._pass

    def limited(self, requests):
        rows = [len(request.points) for request in requests]
        tokens = [self.tokens_per_row(request.site) for request in requests]
        if np.dot(rows, tokens) > 24:
            refused.append(sum(rows))
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return run(self, requests)

    monkeypatch.setattr(Evaluator, "_pass", limited)
    model = tiny()  # a new one: budgets are remembered per model
    got = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:4")
    assert_close(got, want, 1e-6)
    assert refused
    refused.clear()
    headwise.attribute_encoded(model, inputs, integration="gauss-legendre:4")
    assert not refused


def test_batch_is_split_when_recording_runs_out_of_memory(monkeypatch):
    model = tiny()
    inputs = random_inputs(model, (6, 6, 6, 6))
    want = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:2")
    record = Replay.record

    def limited(self, given):
        if len(given["input_ids"]) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory (simulated)")
        return record(self, given)

    monkeypatch.setattr(Replay, "record", limited)
    got = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:2")
    assert_close(got, want, 1e-6)


def test_other_errors_are_not_taken_for_lack_of_memory(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(Evaluator, "_pass", broken)
    model = tiny()
    with pytest.raises(RuntimeError, match="something else"):
        headwise.attribute_encoded(model, random_inputs(model, (6, 6)))


def state(model):
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in m.__dict__, m.training)
        for m in model.modules()
    ]
    needs = [parameter.requires_grad for parameter in model.parameters()]
    return hooks, needs, model.config._attn_implementation


@pytest.mark.parametrize("stop", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 3])
def test_model_is_left_as_found(stop, call):
    """Partly in training mode, partly frozen, with an attention setting of its own."""
    model = tiny(dtype=torch.float32)
    model.set_attn_implementation("eager")
    model.bert.encoder.layer[1].train()
    model.classifier.weight.requires_grad_(False)
    before = state(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = random_inputs(model, (5, 9))
    copies = [{name: array.copy() for name, array in example.items()} for example in inputs]
    calls = []

    def progress(done, total):
        calls.append((done, total))
        if stop is not None and len(calls) == call:
            raise stop

    if stop is None:
        headwise.attribute_encoded(model, inputs, progress=progress)
    else:
        with pytest.raises(stop):
            headwise.attribute_encoded(model, inputs, progress=progress)
        assert len(calls) == call
    assert state(model) == before
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    for example, copy in zip(inputs, copies, strict=True):
        assert all((example[name] == copy[name]).all() for name in copy)


def test_dropout_is_off_in_a_model_in_training_mode():
    model = tiny(hidden_dropout_prob=0.5)
    inputs = random_inputs(model, (5,))
    want = headwise.attribute_encoded(model, inputs)
    assert_close(headwise.attribute_encoded(model.train(), inputs), want, 1e-12)
    assert model.training


def test_progress_rises_to_the_total_and_comes_between_sites():
    model = tiny()
    calls = []
    headwise.attribute_encoded(
        model,
        random_inputs(model, (4, 9, 12)),
        token_budget=8,
        progress=lambda done, total: calls.append((done, total)),
    )
    done = [number for number, _ in calls]
    assert done == sorted(done)
    assert calls[-1] == (3, 3)
    assert {total for _, total in calls} == {3}
    assert done.count(0) > len(model.bert.encoder.layer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("integration", ["auto", "gauss-legendre:3"])
def test_a_broken_example_fails_alone(value, integration):
    """A token whose embedding is broken, in a batch with sound ones."""
    model = tiny()
    inputs = random_inputs(model, (6, 6, 6))
    broken = VOCABULARY - 1
    for example in inputs:
        example["input_ids"] %= broken
    want = headwise.attribute_encoded(model, inputs, integration=integration)
    inputs[1]["input_ids"][3] = broken
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[broken] = value
    got = headwise.attribute_encoded(model, inputs, integration=integration, token_budget=1000)
    assert got.errors[0] is got.errors[2] is None
    assert "not a finite number" in got.errors[1]
    assert got.predicted[1] == -1
    for name in ("scores", "totals", "f0", "residual", "probabilities", "edge_value"):
        assert np.isnan(getattr(got, name)[1]).all()
        np.testing.assert_allclose(
            getattr(got, name)[[0, 2]], getattr(want, name)[[0, 2]], atol=1e-6
        )
    assert not got.converged[1].any()
    assert got.matrices[1] is None
    assert got.edges()[1] == ()
    np.testing.assert_allclose(got.importance(), want.scores[[0, 2]].mean(0), atol=1e-6)


def test_a_model_of_nan_fails_every_example():
    model = tiny()
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight.fill_(float("nan"))
    result = headwise.attribute_encoded(model, random_inputs(model, (4, 5)))
    assert all(result.errors)
    assert np.isnan(result.importance()).all()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (1, {}, "'probability' needs classes.*'logit'"),
        (1, {"output": "logit", "target": "gold", "gold": [0]}, "'gold' needs classes"),
        (2, {"output": "logit"}, "'predicted' needs classes.*0 LABEL_0, 1 LABEL_1"),
    ],
)
def test_numbers_have_no_classes(labels, options, message):
    model = tiny(labels=labels, problem_type="regression")
    with pytest.raises(OptionError, match=message):
        headwise.attribute_encoded(model, [{"input_ids": [2, 3]}], **options)


@pytest.mark.parametrize("target", ["LABEL_0", 1])
def test_the_outputs_of_a_regression_are_shown_as_they_are(target, tmp_path):
    model = tiny(labels=2, problem_type="regression")
    inputs = random_inputs(model, [5, 7])
    result = headwise.attribute_encoded(model, inputs, output="logit", target=target)
    for number, example in enumerate(inputs):
        tensors = {name: torch.as_tensor(ids)[None].long() for name, ids in example.items()}
        with torch.no_grad():
            wanted = model(**tensors).logits[0].numpy()
        np.testing.assert_allclose(result.probabilities[number], wanted, rtol=1e-6)
        np.testing.assert_allclose(result.f1[number], wanted[result.target[number]], rtol=1e-9)
    assert result.outputs == "numbers"
    result.save(tmp_path / "a.safetensors")
    assert headwise.Attribution.load(tmp_path / "a.safetensors").outputs == "numbers"
    name = result.labels[result.target[0]]
    assert f"{name} is {result.f1[0, 0]:.4g}, attributed {name}" in result._repr_html_()


def test_a_single_label_has_a_probability():
    """One output is a number, unless the configuration says that it is a label."""
    model = tiny(labels=1, problem_type="multi_label_classification")
    result = headwise.attribute_encoded(model, random_inputs(model, [5]))
    assert result.outputs == "labels"
    assert 0 < result.probabilities[0, 0] < 1
    np.testing.assert_allclose(result.f1[0], result.probabilities[0, 0], rtol=1e-6)
    assert "strongest label LABEL_0 (0." in result._repr_html_()


def test_a_model_is_checked_once_and_again_when_it_is_another(monkeypatch):
    """A replaced head may read other tokens; what was found out about the old one is void."""
    model = tiny()
    headwise.attribute_encoded(model, random_inputs(model, (6,)), integration="gauss-legendre:2")
    checks = []
    check = headwise.replay.model.choose_shortcuts
    monkeypatch.setattr(
        headwise.replay.model, "choose_shortcuts", lambda *given: checks.append(1) or check(*given)
    )
    inputs = random_inputs(model, (6, 8))
    first = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:2")
    assert not checks

    class Mean(torch.nn.Module):
        def forward(self, hidden):
            return hidden[:, :2].mean(1)

    model.bert.pooler = Mean()
    second = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:2")
    assert checks == [1]
    assert np.abs(first.matrices[0][-1, :, 1:]).max() == 0
    assert np.abs(second.matrices[0][-1, :, 1:]).max() > 0
