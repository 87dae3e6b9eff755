"""The notebook's steps on an encoder-decoder, as jobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, T5Config, T5ForSequenceClassification

import headwise
from headwise.stats.curve import notebook_mask
from jobs.settings import Settings
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.working import rows, run, submitted

EXAMPLES, LAYERS, HEADS = 12, 2, 4


def t5_folder(folder: Path) -> Path:
    """Save a random T5 with three classes and a word tokenizer, whose [SEP] ends a text.

    T5 scales the embeddings without centring them, so their mean gradient is not zero.
    """
    tokenizer = BertTokenizer.from_pretrained(bert_folder(folder))
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=LAYERS,
        num_decoder_layers=LAYERS,
        num_heads=HEADS,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        initializer_factor=3.0,
        id2label={0: "no", 1: "maybe", 2: "yes"},
        label2id={"no": 0, "maybe": 1, "yes": 2},
    )
    T5ForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


def test_the_encoder_is_ranked_by_the_notebooks_method_and_pruned_by_its_rule(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path, threads=1, device="cpu")
    folder = t5_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    ranked = submitted(settings, database, kind="importance", method="embedding-gradient")
    run(settings, database, 1000.0)
    assert rows(database, "SELECT state, error FROM job") == [("succeeded", None)]

    types = "SELECT DISTINCT kind, COUNT(*) FROM head_values GROUP BY kind"
    assert rows(database, types) == [("encoder", EXAMPLES * LAYERS * HEADS)]
    loaded = headwise.load(folder, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    expected = headwise.attribute(
        *(loaded.model, loaded.tokenizer, [(x["premise"], x["hypothesis"]) for x in lines]),
        method="embedding-gradient",
        target="gold",
        gold=[x["label"] for x in lines],
    ).scores
    values = "SELECT value FROM head_values ORDER BY example, layer, head"
    found = np.array(rows(database, values)).reshape(EXAMPLES, LAYERS, HEADS)
    np.testing.assert_allclose(found, expected[:, :LAYERS], rtol=1e-4, atol=1e-7)
    assert np.ptp(found) > 1e-3

    sources = [{"job": ranked, "source": "embedding-gradient"}]
    submitted(
        *(settings, database),
        kind="pruning",
        sources=sources,
        allow_overlap=True,
        steps=1,
        random=0,
        preset="notebook",
        attention_types=["encoder"],
    )
    run(settings, database, 1000.0)
    assert rows(database, "SELECT state, error FROM job WHERE id = 2") == [("succeeded", None)]
    chosen = (
        "SELECT m.heads FROM curve_point p JOIN mask m ON m.job_id = p.job_id AND "
        "m.mask_no = p.mask_no WHERE p.scope = 'notebook'"
    )
    ((removed,),) = rows(database, chosen)
    assert json.loads(removed) == np.argwhere(notebook_mask(found.mean(0))).tolist()
    accuracy = "SELECT n, accuracy FROM mask_result"
    assert all(n == EXAMPLES and 0 <= share <= 1 for n, share in rows(database, accuracy))


@pytest.mark.parametrize("wanted", [{"layers": [2]}, {"attention_types": ["cross"], "layers": [9]}])
def test_sites_that_the_model_lacks_fail_the_job_in_words(
    tmp_path: Path, wanted: dict[str, object]
) -> None:
    settings = Settings(home=tmp_path, threads=1, device="cpu")
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    database = sqlite_database(tmp_path / "headwise.sqlite")
    ranked = submitted(settings, database, kind="importance", method="taylor")
    run(settings, database, 1000.0)
    sources = [{"job": ranked, "source": "taylor"}]
    submitted(settings, database, kind="pruning", sources=sources, allow_overlap=True, **wanted)
    ((state, error),) = rows(database, "SELECT state, error FROM job WHERE id = 2")
    assert state == "failed"
    assert "layers: leaves no head that taylor of job 1 ranks" in error
    assert "The model has layers 0 to 1, with attention of type encoder" in error
