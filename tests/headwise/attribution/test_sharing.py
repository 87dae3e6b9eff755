"""No result depends on what shares a batch, and a text that fails does so alone."""

import numpy as np
import pytest
import torch

import headwise
from benchmarks.tiny import END, FIRST_TOKEN, VOCABULARY, tiny_model
from headwise.attack.predicting import Classifier
from headwise.attribution import cpu_parallel
from headwise.encoding import from_arrays
from headwise.models.evaluating import evaluating
from headwise.pruning.masking import evaluate_masks
from headwise.replay import Replay

RULE = "gauss-legendre:2"
LENGTHS = (11, 12, 12, 13, 13)
BOUNDARY = 12


def texts(lengths=LENGTHS):
    generator = np.random.default_rng(0)
    found = [generator.integers(FIRST_TOKEN, VOCABULARY, n) for n in lengths]
    for text in found:
        text[-1] = END
    return [{"input_ids": text} for text in found]


def longrope():
    """Phi-3 with other frequencies beyond twelve tokens, as the published ones beyond 4,096."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
        "original_max_position_embeddings": BOUNDARY,
    }
    sizes = {"original_max_position_embeddings": BOUNDARY, "rope_parameters": rope}
    return tiny_model("phi3", **sizes)


def dynamic():
    """Llama whose frequencies follow the longest text so far."""
    rope = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 8.0}
    return tiny_model("llama", rope_parameters=rope, max_position_embeddings=BOUNDARY)


def fresh_probabilities(make):
    """Probabilities of each text in a model that has seen no other."""
    found = []
    for text in texts():
        ids = torch.as_tensor(text["input_ids"])[None]
        with torch.no_grad():
            logits = make()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        found.append(logits.softmax(-1).numpy()[0])
    return np.stack(found)


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("make", [longrope, dynamic])
def test_a_text_has_the_result_that_it_has_alone(make, parallel):
    """Float64: 1e-6 for probabilities and, stored in float32, scores."""
    options = {"integration": RULE, "token_budget": 10_000}
    with cpu_parallel.torch_threads(parallel):
        together = headwise.attribute_encoded(make(), texts(), **options)
    np.testing.assert_allclose(together.probabilities, fresh_probabilities(make), atol=1e-6)
    for number, text in enumerate(texts()):
        alone = headwise.attribute_encoded(make(), [text], integration=RULE)
        np.testing.assert_allclose(together.scores[number], alone.scores[0], atol=1e-6)


@pytest.mark.parametrize("make", [longrope, dynamic])
def test_the_boundary_matters(make):
    """Without this package: a text beside a longer one, or after it, is another."""
    model, (short, *_, long) = make(), texts()
    ids = torch.zeros(2, len(long["input_ids"]), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate((short, long)):
        n = len(text["input_ids"])
        ids[row, :n], mask[row, :n] = torch.as_tensor(text["input_ids"]), 1
    with torch.no_grad():
        both = model(input_ids=ids, attention_mask=mask).logits.softmax(-1).numpy()
    assert np.abs(both[0] - fresh_probabilities(make)[0]).max() > 1e-4


@pytest.mark.parametrize("make", [longrope, dynamic])
def test_masks_and_plain_passes_too(make):
    model, encoded = make(), from_arrays(texts())
    with evaluating(model):
        _, probabilities = Classifier(model, 10_000).classify(encoded)
    want = fresh_probabilities(make)
    np.testing.assert_allclose(probabilities, want, atol=1e-6)
    gold = [0] * len(encoded)
    masks = np.zeros((1, 2, 4), dtype=bool)
    found = evaluate_masks(make(), None, encoded, gold, masks, token_budget=10_000)
    np.testing.assert_allclose(found.loss[0], -np.log(want[:, 0]), atol=1e-5)


def test_an_ordinary_model_keeps_its_batches(monkeypatch):
    """The check costs one comparison per model and range of lengths."""
    sizes = []
    native = Replay.record

    def record(self, inputs):
        sizes.append(len(inputs["input_ids"]))
        return native(self, inputs)

    monkeypatch.setattr(Replay, "record", record)
    monkeypatch.setattr(cpu_parallel, "parallel_batches", lambda device: 1)
    model = tiny_model("llama")
    headwise.attribute_encoded(model, texts((13, 13, 13, 13)), integration=RULE, token_budget=999)
    assert sizes == [4]


def test_a_text_that_fails_does_so_alone():
    """BART takes no text without an end-of-text token, and a batch of equally many only."""
    model = tiny_model("bart")
    inputs = texts((10, 10, 10, 10))
    inputs[1]["input_ids"][-1] = FIRST_TOKEN  # no end
    inputs[2]["input_ids"][4] = END  # an end inside
    result = headwise.attribute_encoded(model, inputs, integration=RULE, token_budget=10_000)
    assert [error is None for error in result.errors] == [True, False, True, True]
    assert result.errors[1].startswith("the model does not take this text: ")
    assert np.isnan(result.scores[1]).all()
    for number in (0, 2, 3):
        alone = headwise.attribute_encoded(tiny_model("bart"), [inputs[number]], integration=RULE)
        np.testing.assert_allclose(result.scores[number], alone.scores[0], atol=1e-6)
    encoded = from_arrays(inputs)
    with evaluating(model):
        predicted, _ = Classifier(model, 10_000).classify(encoded)
    assert (predicted >= 0).tolist() == [True, False, True, True]
    masks = np.zeros((1, 6, 4), dtype=bool)
    loss = evaluate_masks(model, None, encoded, [0] * 4, masks, token_budget=10_000).loss
    assert np.isfinite(loss[0]).tolist() == [True, False, True, True]


def test_an_error_of_the_callback_is_no_failure_of_a_text():
    def stop(done, total):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        headwise.attribute_encoded(tiny_model("bert"), texts(), integration=RULE, progress=stop)
