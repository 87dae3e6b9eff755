"""Reading models from their folders: facts of good ones, refusals of all others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwise.models.families import FAMILIES
from headwise.models.files import MAX_LABELS
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import ModelSpec
from tests.helpers.inputs import model_folder, refused


def facts(settings: Settings, **config: Any) -> Any:
    folder = model_folder(settings.home / "model", **config)
    return model_facts(ModelSpec(name=str(folder)), settings)


def refusal(settings: Settings, *words: str, without: tuple[str, ...] = (), **config: Any) -> None:
    folder = model_folder(settings.home / "model", without=without, **config)
    problem = refused(lambda: model_facts(ModelSpec(name=str(folder)), settings), "given: ", *words)
    assert (problem.field, problem.value) == ("model.name", str(folder))
    assert problem.remedy


def test_the_facts_of_a_bert(settings: Settings) -> None:
    found = facts(settings)
    assert (found.family, found.labels) == ("bert", ("no", "maybe", "yes"))
    assert (found.layers, found.heads, found.max_length, found.revision) == (2, 4, 64, None)


def test_distilbert_names_its_layers_and_heads_otherwise(settings: Settings) -> None:
    found = facts(
        settings,
        model_type="distilbert",
        architectures=["DistilBertForSequenceClassification"],
        num_hidden_layers=None,
        num_attention_heads=None,
        n_layers=6,
        n_heads=12,
    )
    assert (found.layers, found.heads) == (6, 12)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_positions_of_roberta_start_after_the_padding(settings: Settings, family: str) -> None:
    found = facts(settings, model_type=family, max_position_embeddings=514)
    assert found.max_length == 512


def test_labels_are_ordered_by_their_number(settings: Settings) -> None:
    names = {str(n): f"label {n}" for n in reversed(range(12))}
    assert facts(settings, id2label=names).labels == tuple(f"label {n}" for n in range(12))


def test_labels_without_names(settings: Settings) -> None:
    assert facts(settings, id2label=None).labels == ("LABEL_0", "LABEL_1")
    assert len(facts(settings, id2label=None, num_labels=5).labels) == 5


def test_a_model_in_several_files(settings: Settings) -> None:
    folder = model_folder(settings.home / "model")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"classifier.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert model_facts(ModelSpec(name=str(folder)), settings).layers == 2


def test_an_unknown_folder(settings: Settings) -> None:
    name = str(settings.home / "nothing")
    refused(
        lambda: model_facts(ModelSpec(name=name), settings),
        "model.name: no such folder",
        "nothing",
        "Check the path",
    )


def test_a_file_is_no_folder(settings: Settings) -> None:
    (settings.home / "file").write_text("")
    spec = ModelSpec(name=str(settings.home / "file"))
    refused(lambda: model_facts(spec, settings), "model.name: no such folder")


def test_a_folder_without_config(settings: Settings) -> None:
    refusal(settings, "has no config.json", "save_pretrained()", without=("config.json",))


def test_a_folder_without_weights(settings: Settings) -> None:
    refusal(settings, "has no model.safetensors", without=("model.safetensors",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_weights_that_are_pickle_only(settings: Settings, name: str) -> None:
    (settings.home / "model").mkdir()
    (settings.home / "model" / name).write_bytes(b"\x80\x04")
    refusal(
        settings,
        "only as pickle",
        name,
        "can run code",
        "save_pretrained",
        without=("model.safetensors",),
    )


def test_pickle_beside_safetensors_is_left_alone(settings: Settings) -> None:
    (settings.home / "model").mkdir()
    (settings.home / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert facts(settings).layers == 2


def test_a_folder_without_tokenizer(settings: Settings) -> None:
    refusal(
        settings,
        "has no tokenizer",
        "tokenizer.save_pretrained(folder)",
        without=("tokenizer.json",),
    )


@pytest.mark.parametrize(
    "architectures", [["BertForMaskedLM"], ["BertModel"], [], None, "x", 5, {"a": 1}]
)
def test_a_model_that_is_no_classifier(settings: Settings, architectures: object) -> None:
    refusal(settings, "is not a sequence classifier", "fine-tuned", architectures=architectures)


@pytest.mark.parametrize("family", ["fnet", "longformer", "", None])
def test_an_unsupported_family(settings: Settings, family: str | None) -> None:
    refusal(
        settings,
        f"is of the unsupported family {family or ''!r}",
        f"Supported: {', '.join(FAMILIES)}",
        architectures=["XForSequenceClassification"],
        model_type=family,
    )


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": None},
        {"num_hidden_layers": 0},
        {"num_attention_heads": -1},
        {"num_hidden_layers": "two"},
        {"num_hidden_layers": [2]},
        {"num_hidden_layers": float("inf")},
        {"num_attention_heads": float("nan")},
        {"max_position_embeddings": "long"},
        {"max_position_embeddings": float("inf")},
        {"id2label": ["no", "yes"]},
        {"id2label": {"no": 0}},
        {"id2label": 7},
        {"id2label": None, "num_labels": 0},
        {"id2label": None, "num_labels": 10**12},
        {"id2label": {str(n): "x" for n in range(MAX_LABELS + 1)}},
    ],
)
def test_an_inconsistent_config(settings: Settings, config: dict[str, Any]) -> None:
    refusal(settings, "config.json", **config)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"]
)
def test_a_config_that_is_no_json(settings: Settings, content: bytes) -> None:
    folder = model_folder(settings.home / "model")
    (folder / "config.json").write_bytes(content)
    problem = refused(
        lambda: model_facts(ModelSpec(name=str(folder)), settings), "no readable config.json"
    )
    assert problem.field == "model.name"


def test_a_config_that_is_no_object(settings: Settings) -> None:
    folder = model_folder(settings.home / "model")
    (folder / "config.json").write_text(json.dumps(["BertForSequenceClassification"]))
    refused(lambda: model_facts(ModelSpec(name=str(folder)), settings), "not a JSON object")
