"""The pruning benchmark on a tiny model: every row is there, with the masks that it says."""

import torch
from transformers import BertConfig, BertForSequenceClassification

import headwise
from benchmarks import pruning
from tests.helpers.tiny import WORDS, bert_folder

SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 3}


def test_the_table_compares_masks_with_as_many_plain_passes(tmp_path):
    tokenizer = headwise.load(bert_folder(tmp_path / "model")).tokenizer
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), num_hidden_layers=2, **SIZES)
    model = BertForSequenceClassification(config).eval()
    texts = [(" ".join(WORDS[i : i + 4]), " ".join(WORDS[i + 2 : i + 9])) for i in range(3)]
    report = pruning.run(model, tokenizer, texts, repeats=1)
    alone, curves = report.rows
    assert len(alone.masks) == 2 * 4
    # Five rankings of eight heads: two masks are shared by all, seven of a direction are not.
    assert 2 + 7 < len(curves.masks) <= 2 + 5 * 14
    lines = pruning.table(report).splitlines()
    assert len(lines) == 2 + 2
    for row, line in zip(report.rows, lines[2:], strict=True):
        ratio = row.seconds / (report.plain * len(row.masks))
        assert line.startswith(f"| {row.name} | {len(row.masks)} |")
        assert line.endswith(f"| {ratio:.2f} |")
