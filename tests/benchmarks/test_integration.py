"""The promise of ``auto`` on real fine-tuned models: 95 % of the pairs within the tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import headwise
from benchmarks.integration import EXACT, examples, kept_word, relative_errors, what_is_hard

GOLDEN = Path(__file__).parents[1] / "headwise/golden/tiny-bert"


def classifier(folder: Path) -> torch.nn.Module:
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()


def assert_kept(model, inputs, rtols) -> None:
    exact = headwise.attribute_encoded(model, inputs, integration=EXACT)
    for rtol in rtols:
        result = headwise.attribute_encoded(model, inputs, rtol=rtol, max_points=128)
        errors = relative_errors(result, exact)
        assert (errors <= rtol).mean() >= 0.95, (rtol, errors.max())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("model", "data", "columns", "count"),
    [
        ("nli-minilm", "mnli/dev_matched.jsonl", "premise,hypothesis", 4),
        ("sst2-minilm", "sst2/dev.jsonl", "text", 8),
    ],
)
def test_most_pairs_meet_the_tolerance_on_fine_tuned_models(
    shared_dir, model, data, columns, count
):
    folder = shared_dir / "models" / model
    tuned, tokenizer = classifier(folder), AutoTokenizer.from_pretrained(folder)
    inputs = examples(tuned, tokenizer, shared_dir / "datasets" / data, columns.split(","), count)
    assert_kept(tuned, inputs, (1e-2, 1e-3, 1e-4))


def test_most_pairs_meet_the_tolerance_on_the_rough_golden_model():
    model = classifier(GOLDEN)
    assert_kept(model, examples(model, None, None, (), 24), (1e-2, 1e-3, 1e-4))


def test_the_tables_count_what_missed(monkeypatch):
    """With an estimate that believes anything, the table says so."""
    model = classifier(GOLDEN)
    inputs = examples(model, None, None, (), 4)
    exact = headwise.attribute_encoded(model, inputs, integration="gauss-legendre:64")
    honest = kept_word(model, inputs, exact)
    monkeypatch.setattr("headwise.attribution.integrate._RESIDUAL_FACTOR", 0.0)
    monkeypatch.setattr("headwise.attribution.integrate._ENDS_FACTOR", 0.0)
    blind = kept_word(model, inputs, exact)
    assert "| 12 of 12 |" in blind[2]
    assert "| 0 of 12 |" in honest[2]
    assert len(what_is_hard(model, inputs, exact)) == 2 + 3
