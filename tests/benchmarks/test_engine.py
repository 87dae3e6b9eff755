"""The engine's benchmark on a tiny model: every row is there and says the same of it."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import headwise
from benchmarks import engine
from tests.helpers.tiny import WORDS, bert_folder

LONGER = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 3}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    tokenizer = headwise.load(bert_folder(tmp_path_factory.mktemp("tiny") / "model")).tokenizer
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), num_hidden_layers=2, **LONGER)
    model = BertForSequenceClassification(config).eval()
    texts = [(" ".join(WORDS[i : i + 4]), " ".join(WORDS[i + 2 : i + 9])) for i in range(3)]
    setting = engine.Setting(model=model, tokenizer=tokenizer, texts=texts)
    return engine.run(setting, exact_examples=2, exact=engine.EXACT_SMOOTH, repeats=1)


def test_the_three_others_are_equally_far_from_the_exact_matrices(report):
    padded, plain, captum = (row.errors for row in report.rows[:3])
    assert 1e-5 < plain.max() < 0.1  # that of 20 left Riemann points
    np.testing.assert_allclose(padded, plain, rtol=0.01)
    np.testing.assert_allclose(captum, plain, rtol=0.01)


def test_ours_are_as_close_as_asked(report):
    for row, rtol in zip(report.rows[3:], engine.RTOLS, strict=True):
        assert row.errors.max() < 3 * rtol
        assert row.within is not None


def test_an_attribution_needs_more_than_two_plain_passes(report):
    plain, *ours = report.costs
    assert len(ours) == 2
    assert all(cost.flops > 2 * plain.flops for cost in ours)


def test_the_page_has_a_line_per_row(report):
    lines = engine.page(report).splitlines()
    for row in report.rows:
        assert any(line.startswith(f"| {row.name} |") for line in lines)
    assert sum(line.startswith("| plain forward pass |") for line in lines) == 1
