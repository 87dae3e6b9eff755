"""`headwise prune`: points of a planned job become models, and what cannot be is said."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import headwise as library
from db import schema
from db.database import Database
from db.queue import new_jobs
from headwise.pruning.export import load_pruned
from headwise.pruning.structure import remove_heads, zero_heads
from jobs.settings import load_settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from tests.cli.conftest import Headwise
from tests.helpers.jobs import job_values
from tests.helpers.tiny import bert_folder, classifier_folder, pairs_file

LAYERS, HEADS = 2, 4
MEAN = np.arange(LAYERS * HEADS).reshape(LAYERS, HEADS)[::-1] / 10
"""Heads of the last layer are the least important."""


@pytest.fixture
def job(home: Path, store: Database) -> int:
    """A planned pruning job on a real tiny BERT."""
    bert_folder(home / "tiny", layers=LAYERS, heads=HEADS)
    return planned(home, store, MEAN)


def planned(home: Path, store: Database, mean: np.ndarray[Any, Any]) -> int:
    """A planned pruning job on a model folder, by a ranking that is written by hand."""
    settings = load_settings()
    spec: dict[str, Any] = {
        "model": {"name": str(home / "tiny")},
        "data": {
            "path": str(pairs_file(home / "rows.jsonl", 6)),
            "text_columns": ["premise", "hypothesis"],
            "label_column": "label",
        },
    }
    source = new_jobs.create_job(store, job_values(spec=json.dumps(spec), state="succeeded"), [])
    rows = [
        {"job_id": source, "source": "attattr", "site": site, "head": head, "n": 4, "rank": 1,
         "mean": float(mean[site, head])}
        for site, head in np.ndindex(mean.shape)
    ]  # fmt: skip
    sites = [
        {"job_id": source, "site": site, "layer": site, "kind": "encoder",
         "heads": mean.shape[1], "name": f"layer.{site}"}
        for site in range(len(mean))
    ]  # fmt: skip
    with store.write() as tx:
        tx.execute(schema.site.insert(), sites)
        tx.execute(schema.ranking.insert(), rows)
    wanted = {"kind": "pruning", "sources": [{"job": source}], "steps": 4, "random": 1, "within": 1}
    found = submit(check({"spec": {**spec, **wanted}}, settings, store), store)
    app: Any = SimpleNamespace()
    Scheduler(settings, store, app).plan()
    return found


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(5, 17).view(1, -1)).logits
    return found


def expected(home: Path, mask: list[list[bool]]) -> torch.Tensor:
    loaded = library.load(home / "tiny", device="cpu")
    return logits(remove_heads(loaded.model, mask))


LAST = [[False] * HEADS, [True] * HEADS]


def test_a_share_becomes_a_smaller_model(headwise: Headwise, job: int, home: Path) -> None:
    ran = headwise("prune", str(job), "--share", "0.5", "--out", "half", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["removed"] == [[1, head] for head in range(HEADS)]
    assert ran.json["heads"] == LAYERS * HEADS
    before, after = ran.json["parameters"]
    assert after < before
    pruned = load_pruned("half", device="cpu")
    assert pruned.removed.tolist() == LAST
    torch.testing.assert_close(logits(pruned.model), expected(home, LAST), atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in pruned.model.parameters()) == after


def test_a_point_becomes_an_ordinary_model(headwise: Headwise, job: int, home: Path) -> None:
    ran = headwise("prune", str(job), "--point", "2", "--format", "masked", "--out", "masked")
    assert ran.status == 0, ran.err
    assert "heads       8 -> 4" in ran.out
    loaded = library.load("./masked", device="cpu")
    torch.testing.assert_close(logits(loaded.model), expected(home, LAST), atol=1e-5, rtol=1e-5)


def test_the_chosen_mask_becomes_onnx(headwise: Headwise, job: int, store: Database) -> None:
    with store.write() as tx:
        wanted = "SELECT mask_no FROM curve_point WHERE scope = 'choice' AND removed = 2"
        mask = tx.run(wanted).scalar()
        tx.run(f"UPDATE pruning SET chosen_mask = {mask}")
    ran = headwise("prune", str(job), "--chosen", "--format", "onnx", "--out", "onnx", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["removed"] == [[1, 0], [1, 1]]
    assert ran.json["onnx_difference"] < 1e-4
    assert Path("onnx/model.onnx").is_file()


SITES = {"bart": 6, "t5": 6, "mobilebert": 2}
TEXTS = ("the cat sings loudly .", "a dog runs")


def of_texts(model: Any, folder: Path) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(list(TEXTS), return_tensors="pt", padding=True)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


@pytest.mark.parametrize("kind", SITES)
def test_encoder_decoders_and_others_without_some_special_tokens(
    headwise: Headwise, home: Path, store: Database, kind: str
) -> None:
    """Half of the heads go; transformers alone reads what is written."""
    classifier_folder(home / "tiny", kind)
    mean = np.random.default_rng(0).random((SITES[kind], HEADS))
    job = planned(home, store, mean)
    whole = library.load(home / "tiny", device="cpu").model
    removed = mean <= np.median(mean)
    wanted = of_texts(zero_heads(whole, removed), home / "tiny")
    assert (wanted - of_texts(whole, home / "tiny")).abs().max() > 1e-3

    asked = ("prune", str(job), "--share", "0.5", "--json", "--format")
    ran = headwise(*asked, "masked", "--out", "masked")
    assert ran.status == 0, ran.err
    assert ran.json["removed"] == np.argwhere(removed).tolist()
    plain = AutoModelForSequenceClassification.from_pretrained("masked")
    torch.testing.assert_close(of_texts(plain, Path("masked")), wanted, atol=1e-5, rtol=1e-5)

    ran = headwise(*asked, "smaller", "--out", "smaller")
    if kind == "t5":
        assert (ran.status, ran.out) == (2, "")
        assert "made for all heads together; zero them" in ran.err
        assert "the format 'masked'" in ran.err
        assert "tensor" not in ran.err
    else:
        assert ran.status == 0, ran.err
        small = load_pruned("smaller", device="cpu")
        torch.testing.assert_close(
            of_texts(small.model, Path("smaller")), wanted, atol=1e-5, rtol=1e-5
        )
        assert ran.json["parameters"][1] < ran.json["parameters"][0]


def test_what_cannot_be_smaller_becomes_onnx(
    headwise: Headwise, home: Path, store: Database
) -> None:
    classifier_folder(home / "tiny", "t5", num_layers=1, num_decoder_layers=1)
    mean = np.arange(3 * HEADS).reshape(3, HEADS) / 100
    job = planned(home, store, mean)
    ran = headwise("prune", str(job), "--share", "0.25", "--format", "onnx", "--out", "onnx")
    assert ran.status == 0, ran.err
    whole = library.load(home / "tiny", device="cpu").model
    removed = mean < 0.03
    tokenizer = AutoTokenizer.from_pretrained("onnx")
    session = onnxruntime.InferenceSession("onnx/model.onnx")
    names = [each.name for each in session.get_inputs()]
    inputs = tokenizer(TEXTS[0], return_tensors="np")
    (found,) = session.run(None, {name: inputs[name] for name in names})
    with torch.no_grad():
        given = {name: torch.from_numpy(inputs[name]) for name in names}
        wanted = zero_heads(whole, removed)(**given).logits.numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--point", "99"), "no such point"),
        (("--point", "1", "--chosen"), "exactly one of"),
        ((), "exactly one of"),
        (("--chosen",), "has not chosen a point"),
        (("--share", "0.33"), "Known: 0, 0.25, 0.5, 0.75, 1"),
        (("--share", "0.5", "--source", "attatr"), "Did you mean 'attattr'?"),
        (("--share", "0.5", "--direction", "mots"), "Did you mean 'most'?"),
        (("--point", "1", "--format", "pickle"), "--format"),
        (("--point", "1", "--out", "full"), "not empty"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    headwise: Headwise, job: int, arguments: tuple[str, ...], words: str
) -> None:
    Path("full").mkdir()
    Path("full/file").write_text("")
    where = () if "--out" in arguments else ("--out", "new")
    ran = headwise("prune", str(job), *arguments, *where)
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.startswith("headwise: ")
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert not Path("new").exists()


def test_other_jobs_and_changed_models_are_refused(
    headwise: Headwise, job: int, store: Database
) -> None:
    ran = headwise("prune", str(job - 1), "--chosen", "--out", "new")
    assert (ran.status, "is a job of kind attribution" in ran.err) == (2, True)
    with store.write() as tx:
        tx.run("UPDATE job SET model_fingerprint = 'another'")
    ran = headwise("prune", str(job), "--point", "1", "--out", "new")
    assert (ran.status, "its files have changed since job" in ran.err) == (2, True)
