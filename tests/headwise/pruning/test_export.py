"""Exported models: the three kinds of folder, how they are read, and what is refused."""

import json
import shutil
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertTokenizer

import headwise
from benchmarks.tiny import tiny_model
from headwise.errors import ModelError, ModelNotFoundError, OptionError, UnsupportedModelError
from headwise.pruning import export
from headwise.pruning.export import load_pruned, save_masked, save_onnx, save_pruned
from headwise.pruning.structure import remove_heads, zero_heads
from headwise.replay import Replay
from headwise.replay.probes import probe_inputs

SAVERS = (save_masked, save_pruned, save_onnx)


@pytest.fixture(scope="module")
def tokenizer():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{number}" for number in range(55))]
    return BertTokenizer(vocab={token: i for i, token in enumerate(words)}, model_max_length=64)


def case(kind, **extra):
    """A model and a mask: of the first site all heads, of the others some."""
    model = tiny_model(kind, **extra).float()
    with Replay(model) as replay:
        mask = np.zeros((len(replay.sites), 4), dtype=bool)
    mask[1:, 1:3] = mask[1::2, 0] = True
    mask[0] = True
    return model, mask


def arguments(kind, tokenizer):
    model, mask = case(kind)
    return model, tokenizer, mask


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def assert_same(model, other, atol=1e-6):
    inputs = probe_inputs(model, 3, 3, 9, padding=2)
    np.testing.assert_allclose(logits(model, inputs), logits(other, inputs), rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "bart"])
def test_pruned_folder(kind, tokenizer, tmp_path):
    model, mask = case(kind)
    save_pruned(model, tokenizer, mask, tmp_path / "pruned")
    loaded = load_pruned(tmp_path / "pruned", device="cpu")
    assert type(loaded.model) is type(model)
    assert not loaded.model.training
    pruned = remove_heads(model, mask)
    assert loaded.model.num_parameters() == pruned.num_parameters() < model.num_parameters()
    assert_same(pruned, loaded.model)
    assert_same(zero_heads(model, mask), loaded.model, atol=1e-5)
    with Replay(model) as replay:
        assert loaded.sites == replay.sites
    assert np.array_equal(loaded.removed, mask)
    assert loaded.tokenizer("w1 w2")["input_ids"] == [2, 6, 7, 3]
    assert loaded.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert load_pruned(tmp_path / "pruned", dtype="float64").model.dtype == torch.float64


def test_masked_folder_is_an_ordinary_one(tokenizer, tmp_path):
    model, mask = case("bert")
    save_masked(model, tokenizer, mask, tmp_path / "masked")
    loaded = headwise.load(tmp_path / "masked", device="cpu").model
    assert loaded.num_parameters() == model.num_parameters()
    assert_same(remove_heads(model, mask), loaded, atol=1e-5)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "masked")
    assert_same(loaded, plain)


@pytest.fixture(scope="module", params=["bert", "llama"])
def onnx(request, tokenizer, tmp_path_factory):
    """Kind of model, its folder, and the difference that was found when it was written."""
    folder = tmp_path_factory.mktemp("onnx") / request.param
    return request.param, folder, save_onnx(*arguments(request.param, tokenizer), folder)


def test_onnx_is_run_on_shapes_of_any_size(onnx):
    kind, folder, difference = onnx
    assert 0 < difference <= export.ONNX_TOLERANCE
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert all(given.shape == ["batch", "sequence"] for given in session.get_inputs())
    model, mask = case(kind)
    pruned = remove_heads(model, mask)
    for batch, n in ((1, 4), (5, 17)):
        inputs = probe_inputs(model, 9, batch, n, padding=2)
        if kind == "bert":
            inputs["token_type_ids"] = torch.arange(batch * n).view(batch, n) % 2
        (got,) = session.run(["logits"], {name: ids.numpy() for name, ids in inputs.items()})
        np.testing.assert_allclose(got, logits(pruned, inputs), rtol=0, atol=1e-5)
    assert {path.name for path in folder.iterdir()} >= {"config.json", "tokenizer.json"}


def test_an_onnx_model_that_differs_is_refused(onnx, tokenizer, tmp_path, monkeypatch):
    kind, folder, _ = onnx

    def wrong(model, inputs, path):
        shutil.copy(folder / "model.onnx", path)
        with torch.no_grad():
            next(model.parameters())[5:] *= 2

    monkeypatch.setattr(export, "_export", wrong)
    with pytest.raises(UnsupportedModelError, match="gives logits that differ by"):
        save_onnx(*arguments(kind, tokenizer), tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_the_exporter_cannot_do_is_refused(tokenizer, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise torch.onnx.OnnxExporterError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UnsupportedModelError, match=r"'bert' cannot be .*no such operator"):
        save_onnx(*arguments("bert", tokenizer), tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_onnx_packages_are_named(package, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    model, mask = case("bert")
    with pytest.raises(OptionError, match=rf"needs {package}, .*pip install headwise\[onnx\]"):
        save_onnx(model, tokenizer, mask, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


# Folders.


@pytest.mark.parametrize("save", SAVERS)
def test_a_folder_with_something_in_it_is_left_alone(save, tokenizer, tmp_path):
    model, mask = case("bert")
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(OptionError, match="not empty"):
        save(model, tokenizer, mask, tmp_path)
    with pytest.raises(OptionError, match="not empty"):
        save(model, tokenizer, mask, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(OptionError, match="cannot be written"):
        save(model, tokenizer, mask, tmp_path / "mine" / "below")


def test_an_empty_folder_is_filled(tokenizer, tmp_path):
    save_pruned(*arguments("bert", tokenizer), tmp_path)
    assert {"config.json", "pruned.json", "pruned.safetensors"} <= {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize("save", [save_masked, save_pruned])
def test_a_failure_leaves_nothing(save, tokenizer, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(type(tokenizer), "save_pretrained", fail)
    with pytest.raises(OSError, match="no space"):
        save(*arguments("bert", tokenizer), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


# Broken folders.


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pruned"
    model, mask = case("bert")
    save_pruned(model, tokenizer, mask, folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "pruned")


@pytest.mark.parametrize("name", ["config.json", "pruned.json", "pruned.safetensors"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelNotFoundError, match=f"has no {name}; give a folder"):
        load_pruned(folder)


def change(folder, edit):
    path = folder / "pruned.json"
    recipe = json.loads(path.read_text())
    edit(recipe)
    path.write_text(json.dumps(recipe))


EDITS = {
    "no format": (lambda r: r.pop("format"), "'format' is missing"),
    "other format": (lambda r: r.update(format=2), "format is 2, this version reads 1"),
    "no cuts": (lambda r: r.pop("cuts"), "'cuts' is missing"),
    "a site too many": (lambda r: r["removed"].append([]), "cannot be read"),
    "a field too many": (lambda r: r["cuts"][0].update(run="rm"), r"Cut has \['attributes'"),
    "a field of another type": (lambda r: r["cuts"][0].update(empty=1), "empty is 1, not of type"),
    "an attribute that is no size": (
        lambda r: r["cuts"][0]["attributes"].update(forward=3),
        "attributes is .*'forward': 3",
    ),
    "a run of nothing": (lambda r: r["cuts"][1].update(columns=[[8, 8, 1]]), r"\[8, 8, 1\]"),
    "a run without end": (lambda r: r["cuts"][1].update(columns=[[0, 1 << 60, 1]]), "columns has"),
    "a head that is not there": (lambda r: r["removed"][0].append(9), "cannot be read"),
    "features that are not there": (
        lambda r: r["cuts"][1].update(columns=[[0, 999, 1]]),
        "do not belong together",
    ),
    "a module that is not there": (
        lambda r: r["cuts"][1].update(module="bert.nothing"),
        "do not belong together.*nothing",
    ),
    "a module that is no projection": (
        lambda r: r["cuts"][1].update(output="bert.encoder"),
        "do not belong together",
    ),
    "other heads": (lambda r: r["cuts"].pop(), "do not belong together"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_recipe(folder, name):
    edit, message = EDITS[name]
    change(folder, edit)
    with pytest.raises(ModelError, match=f"(?s){message}.*export the model again"):
        load_pruned(folder)


def test_a_recipe_of_the_first_version(folder):
    """It calls the attention type of a site ``kind``."""

    def edit(recipe):
        for site in recipe["sites"]:
            site["kind"] = site.pop("attention_type")

    before = load_pruned(folder)
    change(folder, edit)
    assert load_pruned(folder).sites == before.sites


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": 1}'])
def test_a_recipe_that_is_none(folder, text):
    (folder / "pruned.json").write_text(text)
    with pytest.raises(ModelError, match=r"pruned\.json' cannot be read"):
        load_pruned(folder)


def test_a_smaller_model_is_not_taken_for_a_whole_one(folder):
    with pytest.raises(UnsupportedModelError, match=r"headwise\.load_pruned"):
        headwise.load(folder)


def test_broken_weights(folder):
    (folder / "pruned.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="do not belong together, or one is broken"):
        load_pruned(folder)


@pytest.mark.parametrize("missing", [True, False])
def test_weights_are_taken_strictly(folder, missing):
    weights = load_file(folder / "pruned.safetensors")
    if missing:
        del weights["classifier.weight"]
    else:
        weights["surplus"] = torch.zeros(1)
    save_file(weights, folder / "pruned.safetensors")
    with pytest.raises(ModelError, match="do not belong together"):
        load_pruned(folder)


def test_options_of_loading(folder):
    with pytest.raises(OptionError, match="dtype 'int8' is unknown"):
        load_pruned(folder, dtype="int8")
    with pytest.raises(OptionError, match="device"):
        load_pruned(folder, device="abacus")


def test_transformers_does_not_load_it_into_a_whole_model(folder):
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(folder)


def test_a_model_that_could_not_be_built_again(tokenizer, tmp_path):
    class Mine(type(case("bert")[0])):
        pass

    model, mask = case("bert")
    model.__class__ = Mine
    with pytest.raises(UnsupportedModelError, match="Mine is not what transformers makes"):
        save_pruned(model, tokenizer, mask, tmp_path / "new")


@pytest.mark.parametrize("kind", ["bart", "mobilebert"])
def test_probes_are_texts_that_the_model_takes(tokenizer, tmp_path, kind):
    """BART classifies at the end-of-text token; some configurations name no special tokens."""
    model = tiny_model(kind).float()
    if kind == "mobilebert":
        for name in ("bos_token_id", "eos_token_id"):
            if name in model.config.__dict__:
                delattr(model.config, name)
    with Replay(model) as replay:
        sites = replay.sites
    mask = np.zeros((len(sites), max(site.heads for site in sites)), dtype=bool)
    mask[0, 1] = True
    smaller = remove_heads(model, mask)
    compared = headwise.describe(model, smaller, batch=2, length=9, runs=1)
    assert compared.parameters[1] < compared.parameters[0]
    difference = save_onnx(model, tokenizer, mask, tmp_path / "onnx")
    assert difference <= export.ONNX_TOLERANCE
    with pytest.raises(UnsupportedModelError, match="does not run on 1 random texts of 999 tokens"):
        headwise.describe(model, smaller, length=999, runs=1)
